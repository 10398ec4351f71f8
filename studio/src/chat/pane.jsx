// The middle pane: the conversation.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "../controls/button.jsx";
import { Down, Fish, Plus } from "../controls/icons.jsx";
import { adapterOf, models } from "../state/server.js";
import { Composer, draft } from "./composer.jsx";
import { clearConversation, exchanges, model } from "./conversation.js";
import { Exchange } from "./exchange.jsx";
import { set } from "./settings.js";

/** How close to the end, in pixels, counts as being there. */
const NEAR_END = 80;

const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;

export function ChatPane() {
  const scroller = useRef(null);
  const [atEnd, setAtEnd] = useState(true);
  const toEnd = () => (scroller.current.scrollTop = scroller.current.scrollHeight);
  const follow = () => {
    const box = scroller.current;
    const comparison = box.querySelector(".exchange:last-child:has(> .comparison)");
    // A comparison is meant to be seen at one glance, so its beginning does not scroll away.
    box.scrollTop = comparison ? Math.min(box.scrollHeight, comparison.offsetTop - box.offsetTop - 16) : box.scrollHeight;
  };
  const list = exchanges.value;
  const count = useRef(list.length);
  useLayoutEffect(() => {
    // New text is followed only if the end was in view; a new question always is.
    if (atEnd || list.length !== count.current) follow();
    count.current = list.length;
    setAtEnd(isAtEnd(scroller.current)); // text that is not followed grows without a scroll event
  }, [list]);
  return (
    <div class="chat">
      <header class="pane-head chat-head">
        <ModelMenu />
        <Button kind="quiet" small disabled={list.length === 0} onClick={clearConversation}>
          <Plus size={16} /> New chat
        </Button>
      </header>
      <div
        class="pane-scroll chat-scroll"
        ref={scroller}
        tabindex={0}
        role="region"
        aria-label="Conversation"
        onScroll={(event) => setAtEnd(isAtEnd(event.currentTarget))}
      >
        {list.length === 0 ? (
          <Start />
        ) : (
          <ol class="exchanges">
            {list.map((exchange, index) => (
              <Exchange key={exchange.id} exchange={exchange} index={index} isLast={index === list.length - 1} />
            ))}
          </ol>
        )}
      </div>
      <Composer>{!atEnd && list.length > 0 && <IconButton class="to-end" label="Go to the end" icon={Down} onClick={toEnd} />}</Composer>
    </div>
  );
}

function ModelMenu() {
  const bases = models.value.filter((entry) => !adapterOf(entry));
  const adapters = models.value.filter(adapterOf);
  const option = (entry) => (
    <option key={entry.id} value={entry.id}>
      {adapterOf(entry) ?? entry.id}
    </option>
  );
  return (
    <select class="select select-title" aria-label="Model" value={model.value?.id ?? ""} onChange={(event) => set({ model: event.currentTarget.value })}>
      <optgroup label="Base">{bases.map(option)}</optgroup>
      {adapters.length > 0 && <optgroup label="Adapters">{adapters.map(option)}</optgroup>}
    </select>
  );
}

const EXAMPLES = ["Why is the sky blue?", "How do I start running?", "Name three rivers and what they are known for."];

function Start() {
  return (
    <div class="start">
      <Fish size={56} />
      <h2>Write what a good reply is. See what changes.</h2>
      <p>
        Edit a principle, turn on <strong>Before / after</strong>, and ask. Both replies come from the same model with the same seed. Only the principles
        differ.
      </p>
      <ul class="examples">
        {EXAMPLES.map((example) => (
          <li key={example}>
            <Button
              onClick={() => {
                draft.value = example;
                document.getElementById("composer")?.focus();
              }}
            >
              {example}
            </Button>
          </li>
        ))}
      </ul>
    </div>
  );
}
