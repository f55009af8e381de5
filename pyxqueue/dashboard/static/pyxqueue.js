"use strict";
// Pages work without this: every link is a link, every action a form. It renews numbers, chooses all rows, shows times of
// this place, and moves by keys. It writes text only, never markup.

const texts = new Map();
for (const element of document.querySelectorAll("[data-live]")) {
  const key = element.dataset.live;
  texts.set(key, [...(texts.get(key) || []), element]);
}

function show(changes) {
  for (const [key, text] of Object.entries(changes)) {
    for (const element of texts.get(key) || []) {
      if (element.tagName === "PROGRESS") {
        if (text !== "") element.value = Number(text);
      } else if (element.textContent !== text) {
        if (key === "status") {
          location.reload(); // with the state of a task, what can be done about it changes
          return;
        }
        element.textContent = text;
      }
    }
  }
}

// Changes come while the page is seen. The browser opens the stream again by itself when it ends.
let stream = null;

function listen() {
  const url = document.body.dataset.events;
  if (!url || stream || document.hidden) return;
  stream = new EventSource(url);
  stream.addEventListener("change", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("end", () => {
    leave();
    location.reload();
  });
}

function leave() {
  if (stream) stream.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? leave() : listen()));
window.addEventListener("pagehide", leave);
listen();

// All rows of a list.
for (const all of document.querySelectorAll("input[data-all]")) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const one of all.form.querySelectorAll('input[name="id"]')) one.checked = all.checked;
  });
}

// Times of this place, beside those of the store.
for (const time of document.querySelectorAll("time[datetime]")) {
  const when = new Date(time.dateTime);
  if (!Number.isNaN(when.getTime())) time.title = `${when.toLocaleString()} (${time.dateTime})`;
}

// One confirmation is open at a time.
document.addEventListener(
  "toggle",
  (event) => {
    if (!event.target.open) return;
    for (const other of document.querySelectorAll("details.confirm[open]")) {
      if (other !== event.target) other.open = false;
    }
  },
  true,
);

// Keys: / finds a task, n and p turn pages, Escape closes what asks.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    for (const one of document.querySelectorAll("details.confirm[open]")) one.open = false;
    return;
  }
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const link = { n: 'a[rel="next"]', p: 'a[rel="prev"]' }[event.key];
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector(".find input").focus();
  } else if (link && document.querySelector(link)) {
    document.querySelector(link).click();
  }
});
