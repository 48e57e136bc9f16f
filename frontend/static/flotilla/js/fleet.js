// Forms of filters that act as soon as a choice is made, without the button; text waits for Enter.

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form && event.target.matches("select, [type=checkbox]")) form.requestSubmit();
});
// What is empty says nothing: leave it out of the address.
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[data-submit-on-change]")) return;
  for (const name of new Set(event.formData.keys())) {
    const kept = event.formData.getAll(name).filter((value) => value !== "");
    event.formData.delete(name);
    for (const value of kept) event.formData.append(name, value);
  }
});
