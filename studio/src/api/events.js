// Server-sent events over fetch. The browser's EventSource can neither POST nor send a key.

/**
 * Yields the events of a response as `{ event, data, id }`, with `data` as text.
 *
 * Follows the parsing rules of the HTML standard, section 9.2.6, without the `retry` field.
 */
export async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let fields = { event: "message", data: [], id: null };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (fields.data.length > 0) yield { ...fields, data: fields.data.join("\n") };
          fields = { event: "message", data: [], id: fields.id };
        } else {
          takeLine(fields, line);
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // ends the request when the caller stops reading
  }
}

function takeLine(fields, line) {
  if (line.startsWith(":")) return; // a comment keeps the connection alive
  const colon = line.indexOf(":");
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
  if (name === "data") fields.data.push(value);
  else if (name === "event") fields.event = value;
  else if (name === "id") fields.id = value;
}
