// Elements from words. Text from outside only ever becomes text: nothing here, or anywhere in this page, parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `on` holds listeners, `text` its text, everything else is an attribute (false and null: none). */
export function el(tag, about = {}, ...children) {
  return filled(document.createElement(tag), about, children);
}

export function svg(tag, about = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), about, children);
}

export function replace(parent, ...children) {
  parent.replaceChildren(...children.filter((child) => child !== null));
}

function filled(element, about, children) {
  for (const [name, value] of Object.entries(about)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") element[name] = value;
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
