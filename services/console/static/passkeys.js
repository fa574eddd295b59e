"use strict";

// A button with data-passkey asks the server for options, has the browser create or use a passkey, and then sends its
// form with what the authenticator has answered. Without scripts, the buttons stay hidden and the page says why.
const explanations = {
  NotAllowedError: "The passkey was not used: this was cancelled or took too long. Try again.",
  InvalidStateError: "This device has a passkey of this account already. Sign in with it, or use another device.",
  SecurityError: "The browser allows no passkeys at this address. Open the console at the address of its operator.",
  NotSupportedError: "This device cannot create such a passkey. Use another device, or a security key.",
  TypeError: "The console cannot be reached. Check your connection and try again.",
};

class Refusal extends Error {}

const optionsFor = async (form, path) => {
  const answer = await fetch(path, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (answer.redirected) {
    // The person has to confirm first, or to sign in.
    location.assign(answer.url);
    return undefined;
  }
  if (!answer.headers.get("content-type").startsWith("application/json"))
    throw new Refusal("The page is too old. Reload it and try again.");
  const { problem, publicKey } = await answer.json();
  if (problem) throw new Refusal(problem);
  return publicKey;
};

const ask = (kind, options) =>
  kind === "create"
    ? navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
    : navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });

const use = async (button) => {
  const { form } = button;
  const problem = form.querySelector("[data-passkey-problem]");
  problem.hidden = true;
  if (!form.reportValidity()) return;
  button.disabled = true;
  try {
    const options = await optionsFor(form, button.dataset.options);
    if (options === undefined) return;
    form.elements.credential.value = JSON.stringify(await ask(button.dataset.passkey, options));
    form.action = button.formAction;
    form.submit();
  } catch (error) {
    const explanation = explanations[error.name] ?? `The passkey could not be used (${error.name}). Try again.`;
    problem.textContent = error instanceof Refusal ? error.message : explanation;
    problem.hidden = false;
  } finally {
    button.disabled = false;
  }
};

const known = window.PublicKeyCredential?.parseRequestOptionsFromJSON !== undefined;
for (const button of document.querySelectorAll("[data-passkey]")) {
  button.hidden = !known;
  const missing = button.form.querySelector("[data-passkey-missing]");
  missing.textContent = "This browser has no passkeys. Use a newer one, or an API key.";
  missing.hidden = known;
  button.addEventListener("click", (event) => {
    event.preventDefault();
    use(button);
  });
}
