// A text that begins like a formula is not one: spreadsheets would run it.
function csvCell(text) {
  const safe = /^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function saveCsv(rows, name) {
  const link = document.createElement("a");
  const content = rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
