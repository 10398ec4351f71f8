// The page: header, panes, and what stands in their place before a model is open.
import { useEffect, useRef, useState } from "preact/hooks";
import { ChatPane } from "./chat/pane.jsx";
import { Button, IconButton } from "./controls/button.jsx";
import { Dialog } from "./controls/dialog.jsx";
import { Fish, Keyboard, Moon, Panel, Screen, Sun } from "./controls/icons.jsx";
import { Notices } from "./controls/notices.jsx";
import { KeyDialog } from "./key-dialog.jsx";
import { SetDialogs } from "./principles/dialogs.jsx";
import { save } from "./principles/files.js";
import { PrinciplesPane } from "./principles/pane.jsx";
import { isEdited } from "./principles/set.js";
import { RunsPane } from "./runs/pane.jsx";
import { activeRuns } from "./runs/runs.js";
import { front, goTo, layout, panes, runsShown, show, side, visible } from "./state/layout.js";
import { loadServer, server, serverError } from "./state/server.js";
import { theme } from "./state/theme.js";
import { Welcome } from "./welcome/welcome.jsx";

export function App({ onModel }) {
  const [keysShown, setKeysShown] = useState(false);
  return (
    <>
      <Header onKeys={() => setKeysShown(true)} />
      <Body onModel={onModel} />
      <SetDialogs />
      <KeyDialog />
      {keysShown && <KeysDialog onClose={() => setKeysShown(false)} />}
      <Notices />
    </>
  );
}

function Body({ onModel }) {
  if (serverError.value) return <Unreachable />;
  if (!server.value) return <main class="loading" aria-busy="true" aria-label="Loading" />;
  if (!server.value.model) return <Welcome onOpen={loadServer} />;
  return <Panes onModel={onModel} />;
}

function Unreachable() {
  return (
    <main class="welcome">
      <Fish size={64} />
      <h1>No server</h1>
      <p class="welcome-lead" role="alert">
        {serverError.value}
      </p>
      <Button kind="primary" onClick={loadServer}>
        Try again
      </Button>
    </main>
  );
}

const CONTENT = { principles: PrinciplesPane, chat: ChatPane, runs: RunsPane };

function Panes({ onModel }) {
  useEffect(onModel, []);
  usePaneKeys();
  const inFront = visible.value;
  return (
    <div class={`panes panes-${layout.value} ${inFront.includes("runs") ? "" : "panes-no-runs"}`}>
      {layout.value === "medium" && <PaneTabs choices={["principles", "runs"]} chosen={side.value} />}
      {panes.map(({ id, title }) => {
        // Hidden panes stay in the document: they keep their scroll position and what is open in them.
        const Content = CONTENT[id];
        const Element = id === "chat" ? "main" : "section";
        return (
          <Element key={id} id={`pane-${id}`} class={`pane pane-${id}`} aria-label={title} tabindex={-1} hidden={!inFront.includes(id)}>
            <Content />
          </Element>
        );
      })}
      {layout.value === "narrow" && <PaneTabs choices={["principles", "chat", "runs"]} chosen={front.value} />}
    </div>
  );
}

/** Tabs that choose a pane. Arrow keys move between them, as the pattern for tabs asks. */
function PaneTabs({ choices, chosen }) {
  const list = useRef(null);
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (choices.indexOf(chosen) + step + choices.length) % choices.length;
    show(choices[next]);
    list.current.children[next].focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Panes" ref={list} onKeyDown={onKeyDown}>
      {choices.map((id) => (
        <button
          key={id}
          type="button"
          role="tab"
          aria-selected={id === chosen}
          aria-controls={`pane-${id}`}
          tabindex={id === chosen ? 0 : -1}
          onClick={() => show(id)}
        >
          {panes.find((pane) => pane.id === id).title}
          {id === "principles" && isEdited.value && <span class="tab-mark" title="edited" />}
          {id === "runs" && activeRuns.value.length > 0 && <span class="tab-mark tab-mark-live" title="running" />}
        </button>
      ))}
    </div>
  );
}

/** Alt+1, 2, 3 go to a pane; Ctrl+S or Command+S saves the set. */
function usePaneKeys() {
  useEffect(() => {
    const onKeyDown = (event) => {
      if (document.querySelector("dialog[open]")) return;
      const digit = event.code.match(/^Digit([123])$/)?.[1];
      if (event.altKey && !event.ctrlKey && !event.metaKey && digit) {
        event.preventDefault();
        goTo(panes[digit - 1].id);
      } else if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s") {
        event.preventDefault();
        if (isEdited.value) save();
      }
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}

function Header({ onKeys }) {
  const { adapter, version, model } = server.value ?? {};
  return (
    <header class="top">
      <h1 class="brand">
        <Fish />
        Parr <span>Studio</span>
      </h1>
      {adapter && (
        <p class="top-facts" title={`Parr ${version} on ${adapter}`}>
          {adapter}
        </p>
      )}
      <div class="top-tools">
        {model && layout.value === "wide" && (
          <Button kind="quiet" small aria-pressed={runsShown.value} onClick={() => (runsShown.value = !runsShown.value)}>
            <Panel size={17} /> Runs
            {activeRuns.value.length > 0 && <span class="tab-mark tab-mark-live" title="running" />}
          </Button>
        )}
        <IconButton label="Keys" icon={Keyboard} class="keys-button" onClick={onKeys} />
        <ThemeButton />
      </div>
    </header>
  );
}

const THEMES = {
  system: { next: "light", icon: Screen, label: "Theme: as the system" },
  light: { next: "dark", icon: Sun, label: "Theme: light" },
  dark: { next: "system", icon: Moon, label: "Theme: dark" },
};

function ThemeButton() {
  const { next, icon, label } = THEMES[theme.value];
  return <IconButton label={label} icon={icon} onClick={() => (theme.value = next)} />;
}

const KEYS = [
  ["Enter", "send the question"],
  ["Shift Enter", "new line"],
  ["Escape", "stop the reply"],
  ["Alt 1, Alt 2, Alt 3", "go to principles, chat, runs"],
  ["Alt \u2191, Alt \u2193", "move the principle"],
  ["Ctrl Z, Ctrl Shift Z", "undo and redo, among the principles"],
  ["Ctrl S", "save the set"],
];

function KeysDialog({ onClose }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              {key.split(", ").map((combination, index) => (
                <span key={combination}>
                  {index > 0 && ", "}
                  <kbd>{combination}</kbd>
                </span>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <div class="dialog-actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}
