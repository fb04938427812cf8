for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const ascending = head.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const value = (row) => row.cells[head.cellIndex].dataset.value ?? "";
      const sign = ascending ? 1 : -1;
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const difference = Number(x) - Number(y);
        return sign * (Number.isNaN(difference) ? x.localeCompare(y) : difference);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

document.addEventListener("click", (event) => {
  const table = document.querySelector(`#${event.target.closest("button[data-csv]")?.dataset.csv} table`);
  if (!table) return;
  const value = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const rows = [...table.rows].map((row) => [...row.cells].map(value));
  saveCsv(rows, `${event.target.dataset.csv}.csv`);
});
