// The first visit: no model is open yet.
import { useEffect, useState } from "preact/hooks";
import { Progress } from "../controls/bar.jsx";
import { Button } from "../controls/button.jsx";
import { Fish } from "../controls/icons.jsx";
import { arriving, catalog, catalogError, loadCatalog, pullAndOpen } from "./catalog.js";

export function Welcome({ onOpen }) {
  useEffect(() => void loadCatalog(), []);
  return (
    <main class="welcome" id="pane-chat" tabindex={-1}>
      <Fish size={64} />
      <h1>Choose a model</h1>
      <p class="welcome-lead">Everything runs on this machine. A small model is enough to see how principles work.</p>
      {catalogError.value && (
        <p class="error" role="alert">
          {catalogError.value}
        </p>
      )}
      <ul class="catalog">
        {catalog.value.map((entry, index) => (
          <Entry key={entry.name} entry={entry} first={index === 0} onOpen={onOpen} />
        ))}
      </ul>
    </main>
  );
}

/** The first entry is the one that Parr suggests. */
function Entry({ entry, first, onOpen }) {
  const [accepted, setAccepted] = useState(false);
  const coming = arriving.value?.name === entry.name ? arriving.value : null;
  const asks = entry.terms && !entry.cached;
  const start = async () => {
    if (await pullAndOpen(entry)) onOpen();
  };
  return (
    <li class="catalog-entry">
      <div class="catalog-head">
        <h2>{entry.name}</h2>
        <span class="catalog-size">{entry.parameters} parameters</span>
        <span class="catalog-licence">{entry.licence}</span>
      </div>
      {entry.about && <p class="catalog-about">{entry.about}</p>}
      {entry.terms && <p class="catalog-terms">{entry.terms}</p>}
      <div class="catalog-foot">
        {asks && (
          <label class="check">
            <input type="checkbox" checked={accepted} onChange={(event) => setAccepted(event.currentTarget.checked)} /> I accept these terms
          </label>
        )}
        {coming ? (
          <Coming coming={coming} />
        ) : (
          <Button kind={first || entry.cached ? "primary" : "plain"} disabled={arriving.value !== null || (asks && !accepted)} onClick={start}>
            {entry.cached ? "Open" : "Download and open"}
            <span class="hidden"> {entry.name}</span>
          </Button>
        )}
      </div>
    </li>
  );
}

const formatMegabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0);

function Coming({ coming: { name, stage, done, of, note } }) {
  const opening = stage === "opening";
  const size = of ? `${formatMegabytes(done)} of ${formatMegabytes(of)} MB` : `${formatMegabytes(done)} MB`;
  const text = opening ? "Opening" : done > 0 ? size : "Connecting";
  return (
    <div class="coming" role="status">
      <Progress done={done} of={opening ? 0 : of} label={`${opening ? "Opening" : "Downloading"} ${name}`} />
      <span class="number">{text}</span>
      {note && !opening && <span class="hint">{note}</span>}
    </div>
  );
}
