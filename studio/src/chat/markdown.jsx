// Markdown as Preact nodes. The text comes from a model, so nothing of it is ever parsed as HTML:
// marked only splits it into tokens, and an HTML token is shown as the text that it is.
import { lexer } from "marked";
import { useMemo } from "preact/hooks";

export function Markdown({ text }) {
  const tokens = useMemo(() => lexer(text, { gfm: true, breaks: true }), [text]);
  return <div class="markdown">{blocks(tokens)}</div>;
}

const blocks = (tokens) => tokens.map((token, index) => <Block key={index} token={token} />);

function Block({ token }) {
  switch (token.type) {
    case "space":
    case "def":
    case "checkbox": // drawn by its item
      return null;
    case "paragraph":
      return <p>{inline(token.tokens)}</p>;
    case "heading": {
      // The page has its own headings; those of a reply stay below them.
      const Heading = `h${Math.min(6, token.depth + 3)}`;
      return <Heading>{inline(token.tokens)}</Heading>;
    }
    case "code":
      return (
        <pre tabindex={0} aria-label={token.lang ? `Code, ${token.lang}` : "Code"} role="region">
          <code>{token.text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote>{blocks(token.tokens)}</blockquote>;
    case "hr":
      return <hr />;
    case "list":
      return token.ordered ? <ol start={token.start || 1}>{items(token)}</ol> : <ul>{items(token)}</ul>;
    case "table":
      return <Table token={token} />;
    case "text":
      return token.tokens ? <>{inline(token.tokens)}</> : <>{decode(token.text)}</>;
    default:
      return <p>{token.raw}</p>;
  }
}

function items(list) {
  return list.items.map((item, index) => (
    <li key={index}>
      {item.task && <input type="checkbox" checked={item.checked} disabled aria-label={item.checked ? "done" : "open"} />}
      {blocks(item.tokens)}
    </li>
  ));
}

function Table({ token }) {
  const cells = (row, Cell) =>
    row.map((cell, index) => (
      <Cell key={index} class={cell.align ? `align-${cell.align}` : ""}>
        {inline(cell.tokens)}
      </Cell>
    ));
  return (
    <div class="table-scroll" tabindex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>{cells(token.header, "th")}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, index) => (
            <tr key={index}>{cells(row, "td")}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const inline = (tokens) => (tokens ?? []).map((token, index) => <Inline key={index} token={token} />);

function Inline({ token }) {
  switch (token.type) {
    case "strong":
      return <strong>{inline(token.tokens)}</strong>;
    case "em":
      return <em>{inline(token.tokens)}</em>;
    case "del":
      return <del>{inline(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return <Link href={token.href}>{inline(token.tokens)}</Link>;
    case "image":
      // A picture from elsewhere would be a request that the user has not asked for.
      return <Link href={token.href}>{token.text || token.href}</Link>;
    case "escape":
      return <>{token.text}</>;
    case "checkbox": // drawn by its item
      return null;
    case "text":
      return token.tokens ? <>{inline(token.tokens)}</> : <>{decode(token.text)}</>;
    default:
      return <>{token.raw}</>;
  }
}

function Link({ href, children }) {
  if (!/^(https?|mailto):/i.test(href)) return <>{children}</>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** The few character references that models write. marked leaves them to the browser's parser. */
function decode(text) {
  return text.replace(/&(?:#(\d{1,6})|(amp|lt|gt|quot|apos|nbsp));/g, (whole, number, name) => {
    if (name) return NAMED[name];
    const point = Number(number);
    return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
