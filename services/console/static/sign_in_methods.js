"use strict";

// A button with data-passkey or data-wallet asks the server for options, has the browser's authenticator or the wallet
// answer them, and then sends its form with the answer. Without scripts, the buttons stay hidden and the page says why.
class Refusal extends Error {}
class Elsewhere extends Error {}

const unreachable = "The console cannot be reached. Check your connection and try again.";

const optionsFor = async ({ form, dataset }) => {
  const answer = await fetch(dataset.options, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (answer.redirected) {
    // The person has to confirm first, or to sign in.
    location.assign(answer.url);
    throw new Elsewhere();
  }
  if (!answer.headers.get("content-type").startsWith("application/json"))
    throw new Refusal("The page is too old. Reload it and try again.");
  const options = await answer.json();
  if (options.problem) throw new Refusal(options.problem);
  return options;
};

const passkey = {
  known: window.PublicKeyCredential?.parseRequestOptionsFromJSON !== undefined,
  missing: "This browser has no passkeys. Use a newer one, or an API key.",
  explanations: {
    NotAllowedError: "The passkey was not used: this was cancelled or took too long. Try again.",
    InvalidStateError: "This device has a passkey of this account already. Sign in with it, or use another device.",
    SecurityError: "The browser allows no passkeys at this address. Open the console at the address of its operator.",
    NotSupportedError: "This device cannot create such a passkey. Use another device, or a security key.",
    TypeError: unreachable,
  },
  explain: (error) => passkey.explanations[error.name] ?? `The passkey could not be used (${error.name}). Try again.`,
  answer: async (button) => {
    const { publicKey } = await optionsFor(button);
    const credential = button.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
    button.form.elements.credential.value = JSON.stringify(credential);
  },
};

const wallet = {
  known: walletProvider?.request !== undefined,
  missing: "This browser has no Ethereum wallet. Install one, or sign in in another way.",
  explanations: {
    4001: "The wallet has not signed, because you refused. Nothing has changed. Try again.",
    4100: "The wallet does not let this page ask. Unlock it and try again.",
    "-32002": "The wallet waits for an answer of yours already. Open it.",
  },
  explain: (error) => error.name === "TypeError" ? unreachable
    : wallet.explanations[error.code] ?? "The wallet did not sign. Unlock it and try again.",
  answer: async (button) => {
    const { elements } = button.form;
    const [address] = await walletProvider.request({ method: "eth_requestAccounts" });
    elements.address.value = address;
    const { message, nonce } = await optionsFor(button);
    elements.nonce.value = nonce;
    const bytes = [...new TextEncoder().encode(message)];
    const text = `0x${bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    elements.signature.value = await walletProvider.request({ method: "personal_sign", params: [text, address] });
  },
};

const use = async (button, method) => {
  const { form } = button;
  const problem = button.parentElement.querySelector("[data-problem]");
  problem.hidden = true;
  if (!form.reportValidity()) return;
  button.disabled = true;
  try {
    await method.answer(button);
    form.action = button.formAction;
    form.submit();
  } catch (error) {
    if (error instanceof Elsewhere) return;
    problem.textContent = error instanceof Refusal ? error.message : method.explain(error);
    problem.hidden = false;
  } finally {
    button.disabled = false;
  }
};

for (const button of document.querySelectorAll("[data-passkey], [data-wallet]")) {
  const method = "passkey" in button.dataset ? passkey : wallet;
  button.hidden = !method.known;
  const missing = button.parentElement.querySelector("[data-missing]");
  missing.textContent = method.missing;
  missing.hidden = method.known;
  button.addEventListener("click", (event) => {
    event.preventDefault();
    use(button, method);
  });
}
