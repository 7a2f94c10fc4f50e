// Numbers as people read them.

export function bytes(count) {
  if (!(count > 0)) return "0 GB";
  if (count >= 19.95e9 || (count >= 1e9 && count % 1e9 === 0)) return `${Math.round(count / 1e9)} GB`;
  if (count >= 1e8) return `${(count / 1e9).toFixed(1)} GB`;
  return `${Math.max(1, Math.round(count / 1e6))} MB`;
}

export function count(number) {
  return Math.round(number).toLocaleString("en-US");
}

export function rate(number) {
  return number >= 100 ? count(number) : number.toFixed(number >= 10 || number === 0 ? 0 : 1);
}

export function percent(share) {
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

export function clock(seconds, withDay) {
  const at = new Date(seconds * 1000);
  const time = `${String(at.getHours()).padStart(2, "0")}:${String(at.getMinutes()).padStart(2, "0")}`;
  return withDay ? `${["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][at.getDay()]} ${time}` : time;
}

export function until(seconds) {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Why a worker is not connected, behind words that say so already. */
export function whyNot(runner) {
  return runner.connection.replace(/^not connected: /, "");
}
