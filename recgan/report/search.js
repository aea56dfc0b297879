(() => {
  const id = name => document.getElementById(name);
  const cards = [...document.querySelectorAll("#search details")].map(card => ({
    card, user: card.dataset.user.toLowerCase(),
    rows: [...card.querySelectorAll("li")].map(row => ({
      row, text: row.textContent.toLowerCase(), kinds: row.dataset.kinds.split("|") })) }));
  const show = () => {
    const words = id("find").value.toLowerCase().split(/\s+/).filter(Boolean), kind = id("kind").value;
    const asked = words.length > 0 || kind !== "";
    let n = 0;
    for (const { card, user, rows } of cards) {
      const own = words.join(" ") === user;
      let any = false;
      for (const { row, text, kinds } of rows) {
        const hit = (own || words.every(word => text.includes(word))) && (kind === "" || kinds.includes(kind));
        row.classList.toggle("hit", asked && hit);
        any = any || hit;
      }
      card.hidden = asked && !any && !(own && kind === "");
      n += card.hidden ? 0 : 1;
      card.open = asked && !card.hidden && n <= 6;
    }
    id("found").textContent = asked ? `${n} of ${cards.length} lists` : `${cards.length} lists`;
  };
  id("find").addEventListener("input", show);
  id("kind").addEventListener("input", show);
  id("asking").hidden = false;
  show();
})();
