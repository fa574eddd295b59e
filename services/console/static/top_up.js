"use strict";

// Has the wallet of this browser send tokens to the deposit address. Without a wallet, the form stays hidden: the address
// above it works with any. What the wallet does is between it and the chain; nothing is sent to the console.
const form = document.querySelector("[data-pay]");
const [problem, status] = ["[data-problem]", "[data-status]"].map((part) => form.querySelector(part));
const TRANSFER = "0xa9059cbb";

const explanations = {
  4001: "You refused in the wallet. Nothing was sent.",
  4902: "The wallet does not know this chain. Add the chain to it and try again. Nothing was sent.",
  "-32002": "The wallet waits for an answer of yours already. Open it.",
};

const show = (element, text) => {
  element.textContent = text;
  element.hidden = false;
};

// Whole units, by their digits: no amount ever becomes a floating-point number.
const unitsOf = (text) => {
  const digits = /^([0-9]{1,9})(?:\.([0-9]{1,6}))?$/.exec(text.trim());
  const units = digits ? BigInt(digits[1] + (digits[2] ?? "").padEnd(6, "0")) : 0n;
  return units > 0n ? units : undefined;
};

const word = (digits) => digits.toLowerCase().padStart(64, "0");

const onChain = async (wanted) => await walletProvider.request({ method: "eth_chainId" }) === wanted;

const send = async (units) => {
  const { chain, token, to } = form.dataset;
  const chainId = `0x${Number(chain).toString(16)}`;
  if (!await onChain(chainId))
    await walletProvider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  const [from] = await walletProvider.request({ method: "eth_requestAccounts" });
  // Once more, directly before: on another chain, the tokens would not arrive.
  if (!await onChain(chainId)) throw Object.assign(new Error(), { code: 4902 });
  const data = `${TRANSFER}${word(to.slice(2))}${word(units.toString(16))}`;
  return walletProvider.request({ method: "eth_sendTransaction", params: [{ from, to: token, data, value: "0x0" }] });
};

form.hidden = walletProvider?.request === undefined;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { amount, pay } = form.elements;
  problem.hidden = status.hidden = true;
  const units = unitsOf(amount.value);
  if (units === undefined) {
    show(problem, "Enter an amount such as 10 or 2.50, with at most six decimals. Nothing was sent.");
    amount.focus();
    return;
  }
  pay.disabled = true;
  try {
    const transaction = await send(units);
    amount.value = "";
    show(status, `Sent as ${transaction}. It is credited when its block is final; you need not wait here.`);
  } catch (error) {
    const otherwise = "The wallet did not say that it has sent. Look in the wallet before you try again.";
    show(problem, explanations[error.code] ?? otherwise);
  } finally {
    pay.disabled = false;
  }
});
