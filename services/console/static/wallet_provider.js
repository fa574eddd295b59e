"use strict";

// The wallet of this browser: what it injects into pages (EIP-1193), or announces to those that ask (EIP-6963). Scripts
// that come after this one use it; it is undefined if there is no wallet.
let walletProvider = window.ethereum;
addEventListener("eip6963:announceProvider", ({ detail }) => { walletProvider ??= detail.provider; });
dispatchEvent(new Event("eip6963:requestProvider"));
