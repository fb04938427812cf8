// Filters, sorts, opens and saves the cards of a page. All values are data: nothing is parsed as HTML.
(() => {
  const SEPARATOR = "\u001f";
  const list = document.querySelector("[data-records]");
  const form = document.querySelector("form.tools");
  if (!list || !form) return;
  const cards = [...list.children];
  cards.forEach((card, number) => { card.dataset.position = number; });
  const controls = [...form.elements].filter((control) => control.name);
  const none = document.querySelector(".nothing");

  function matches(card) {
    return controls.every((control) => {
      const wanted = control.value;
      if (control.tagName === "BUTTON" || control.name === "sort" || wanted === "") return true;
      if (control.name === "search") {
        return card.textContent.toLowerCase().includes(wanted.toLowerCase());
      }
      return (card.dataset[control.name] ?? "").split(SEPARATOR).includes(wanted);
    });
  }

  function sorted() {
    const [name, direction] = (form.elements.sort?.value || "position:up").split(":");
    const sign = direction === "down" ? -1 : 1;
    const value = (card) => card.dataset[name] ?? "";
    return [...cards].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "") || a.dataset.position - b.dataset.position;
      return sign * (Number(x) - Number(y)) || a.dataset.position - b.dataset.position;
    });
  }

  function update() {
    let shown = 0;
    for (const card of cards) {
      card.hidden = !matches(card);
      shown += !card.hidden;
    }
    list.append(...sorted());
    form.querySelector("output").value = `${shown} of ${cards.length} shown`;
    if (none) none.hidden = shown > 0;
  }

  function clear() {
    controls.forEach((control) => {
      if (control.name !== "sort" && control.tagName !== "BUTTON") control.value = "";
    });
  }

  function save() {
    const names = list.dataset.records.split(" ");
    const shown = [...list.children].filter((card) => !card.hidden);
    const value = (card, name) => (card.dataset[name] ?? "").split(SEPARATOR).join("|");
    saveCsv([names, ...shown.map((card) => names.map((name) => value(card, name)))], "records.csv");
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.name === "reset") {
      clear();
      update();
    }
    if (button?.name === "csv") save();
    const filters = event.target.closest("[data-show]");
    if (filters) {
      clear();
      const wanted = { label: filters.dataset.label, predicted: filters.dataset.predicted };
      for (const [name, value] of Object.entries(wanted)) {
        if (form.elements[name] && value !== undefined) form.elements[name].value = value;
      }
      update();
      form.scrollIntoView();
    }
  });
  form.hidden = false;
  update();
})();

(() => {
  const viewer = document.querySelector("#viewer");
  if (!viewer) return;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (button) {
      const image = new Image();
      image.src = button.querySelector("img").src;
      viewer.querySelector("div").replaceChildren(image);
      viewer.querySelector("p").textContent = button.dataset.caption;
      viewer.showModal();
    } else if (event.target === viewer) {
      viewer.close();
    }
  });
})();
