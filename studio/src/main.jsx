// Parr Studio, the page of `parr serve`.
import { render } from "preact";
import { App } from "./app.jsx";
import { startConversation } from "./chat/conversation.js";
import { startSettings } from "./chat/settings.js";
import { startChecks } from "./principles/check.js";
import { startSets } from "./principles/files.js";
import { startRuns } from "./runs/runs.js";
import { startLayout } from "./state/layout.js";
import { notify } from "./state/notices.js";
import { loadServer } from "./state/server.js";
import { startTheme } from "./state/theme.js";
import "./styles/studio.css";

const report = (error) => notify(error.message, "error");

startTheme();
startLayout();
startSettings();
startConversation();
startChecks();
render(
  <App
    onModel={() => {
      startSets().catch(report);
      startRuns().catch(report);
    }}
  />,
  document.getElementById("studio"),
);
loadServer();
