// One question and what came back.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "../controls/button.jsx";
import { GrowingText } from "../controls/fields.jsx";
import { Again, Pencil } from "../controls/icons.jsx";
import { Comparison } from "./comparison.jsx";
import { ask, isGenerating, isOpen, regenerate } from "./conversation.js";
import { Reply } from "./reply.jsx";

/** Drawn again only if the exchange itself has changed: a reply that is written changes many times a second. */
export function Exchange({ exchange, index, isLast }) {
  return useMemo(() => <ExchangeItem exchange={exchange} index={index} isLast={isLast} />, [exchange, index, isLast]);
}

function ExchangeItem({ exchange, index, isLast }) {
  const [editing, setEditing] = useState(false);
  const open = Object.values(exchange.replies).some(isOpen);
  return (
    <li class="exchange">
      {editing ? (
        <EditQuestion exchange={exchange} index={index} isLast={isLast} onEnd={() => setEditing(false)} />
      ) : (
        <div class="question">
          <p>{exchange.question}</p>
          <div class="question-tools">
            <IconButton label="Edit the question" icon={Pencil} size={15} disabled={isGenerating.value} onClick={() => setEditing(true)} />
            <IconButton
              label={isLast ? "Write another reply" : "Write another reply. Later turns are removed."}
              icon={Again}
              size={15}
              disabled={isGenerating.value}
              onClick={() => regenerate(index)}
            />
          </div>
        </div>
      )}
      {exchange.comparison ? <Comparison exchange={exchange} /> : <Reply reply={exchange.replies.after} seed={exchange.seed} />}
      {!open && isLast && (
        <Button kind="quiet" small class="again" disabled={isGenerating.value} onClick={() => regenerate(index)}>
          <Again size={15} /> Regenerate
        </Button>
      )}
    </li>
  );
}

function EditQuestion({ exchange, index, isLast, onEnd }) {
  const [text, setText] = useState(exchange.question);
  const area = useRef(null);
  useEffect(() => area.current.focus(), []);
  const submit = () => {
    if (text.trim() === "") return;
    onEnd();
    ask(text, index);
  };
  return (
    <div class="question question-editing">
      <GrowingText
        aria-label="Question"
        inputRef={area}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onEnd();
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            submit();
          }
        }}
      />
      <div class="question-actions">
        {!isLast && <span class="hint">The turns after this one are removed.</span>}
        <Button small onClick={onEnd}>
          Cancel
        </Button>
        <Button small kind="primary" disabled={text.trim() === ""} onClick={submit}>
          Ask again
        </Button>
      </div>
    </div>
  );
}
