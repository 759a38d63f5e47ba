// Search in one language: ?zh&search.js runs the theme's search.js on the Chinese pages, and below them
// on the English ones without a translation; ?en&search.js runs it on the English pages.
// Pages in zh/ have the names of the English ones.
const [language, script] = self.location.search.slice(1).split("&");
const words = new Set(); // the Chinese ones; the site's index has \u200b between them

const isChinese = ({ location }) => location.startsWith("zh/");
const page = ({ location }) => location.split("#")[0];

function choose(entries) {
  if (language !== "zh") return entries.filter((entry) => !isChinese(entry));
  const translated = new Set(entries.filter(isChinese).map((entry) => page(entry).slice(3)));
  return entries
    .filter((entry) => isChinese(entry) || !translated.has(page(entry)))
    .map((entry) => (isChinese(entry) ? entry : { ...entry, boost: (entry.boost ?? 1) / 1e4 }));
}

// The longest words that the index has: the theme takes the shortest, and then prefixes of any length.
function separate(text) {
  const found = [];
  for (let start = 0, end; start < text.length; start = end) {
    for (end = text.length; end > start + 1 && !words.has(text.slice(start, end)); end--);
    if (end > start + 1) found.push(text.slice(start, end));
  }
  return found.join(" ") || text;
}

// runs before the theme's own listener, on the same message
addEventListener("message", ({ data: message }) => {
  if (message.type === 0) {
    message.data.docs = choose(message.data.docs);
    for (const { title, text } of message.data.docs)
      for (const word of `${title} ${text}`.match(/[\u4e00-\u9fff]{2,}/g) ?? []) words.add(word);
  } else if (message.type === 2) {
    message.data = message.data.replace(/[\u4e00-\u9fff]+/g, separate);
  }
});

importScripts(script);
