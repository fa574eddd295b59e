"use strict";

// A conversation with a model. What others have written, the model among them, reaches the page as text only. The
// console sends each question on with a key of its own, so no key is ever here.
const form = document.getElementById("ask");
if (form) {
  const byId = (id) => document.getElementById(id);
  const [model, message, picture, preview] = ["model", "message", "picture", "preview"].map(byId);
  const [send, stop, clear, announcement] = ["send", "stop", "clear", "announcement"].map(byId);
  const conversation = byId("conversation");
  // Larger pictures are made smaller before they are sent, in pixels.
  const MOST_PIXELS = 1536;
  // The console takes 8 MiB.
  const MOST_CHARACTERS = 8000000;
  // Between two looks at a receipt, in milliseconds, and how often it is looked at.
  const LOOK = 250, MOST_LOOKS = 40;
  let messages = [];
  let shown = null;
  let running = null;

  const make = (tag, className, text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const said = (text = "") => {
    const element = make("p", "said", text);
    element.dir = "auto";
    return element;
  };
  const turn = (label, className = "turn") => {
    const element = make("article", className);
    element.setAttribute("aria-label", label);
    conversation.append(element);
    return element;
  };

  const showPrice = () => {
    const option = model.selectedOptions[0];
    byId("price").textContent = ` for ${option.dataset.price}`;
    byId("picture-field").hidden = !("vision" in option.dataset);
  };
  model.addEventListener("change", showPrice);
  showPrice();

  const draw = (canvas, image, most) => {
    const scale = Math.min(1, most / Math.max(image.width, image.height));
    canvas.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = Math.max(1, Math.round(image.height * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return scale;
  };
  const dataUrl = (blob) => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  const forgetPicture = () => {
    shown = null;
    picture.value = "";
    preview.hidden = true;
  };
  picture.addEventListener("change", async () => {
    const file = picture.files[0];
    byId("picture-hint").textContent = "It goes to the model with the message, and is stored nowhere.";
    if (!file) return forgetPicture();
    try {
      const image = await createImageBitmap(file);
      draw(preview, image, 320);
      preview.hidden = false;
      const canvas = document.createElement("canvas");
      const smaller = draw(canvas, image, MOST_PIXELS) < 1;
      const jpeg = () => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
      shown = { image, url: await dataUrl(smaller ? await jpeg() : file) };
    } catch {
      forgetPicture();
      byId("picture-hint").textContent = "This file cannot be read as a picture. Choose a PNG, JPEG, WEBP or GIF.";
    }
  });

  const problem = (text, money) => {
    byId("problem")?.remove();
    const element = make("p", "problem");
    element.id = "problem";
    element.setAttribute("role", "alert");
    element.append(make("strong", "", "No answer."), ` ${text} `, make("span", "money", money));
    form.before(element);
  };

  const question = () => ({
    model: model.value, messages, system: byId("system").value, tools: byId("tools").value,
    max_tokens: byId("max_tokens").value,
  });

  // Yields the data of each event of a stream.
  async function* events(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }

  // Shows an answer while it comes, and keeps it for the next question.
  const answerIn = (element) => {
    const answer = { role: "assistant", content: "" };
    const calls = [];
    let text = null, thoughts = null;
    const grow = (node, piece) => node.firstChild ? node.firstChild.appendData(piece) : node.append(piece);
    const take = (delta) => {
      if (delta.reasoning_content) {
        if (!thoughts) {
          const details = make("details", "reasoning");
          thoughts = said();
          details.append(make("summary", "", "Reasoning"), thoughts);
          element.prepend(details);
        }
        answer.reasoning_content = (answer.reasoning_content ?? "") + delta.reasoning_content;
        grow(thoughts, delta.reasoning_content);
      }
      if (delta.content) {
        if (!text) element.append(text = said());
        answer.content += delta.content;
        grow(text, delta.content);
      }
      for (const piece of delta.tool_calls ?? []) {
        let call = calls[piece.index];
        if (!call) {
          call = calls[piece.index] = { id: piece.id, type: "function", function: { name: piece.function.name, arguments: "" } };
          const box = make("div", "call"), line = make("p", "", "Calls ");
          line.append(make("code", "", call.function.name));
          call.shown = make("pre", "");
          call.shown.tabIndex = 0;
          call.shown.setAttribute("role", "group");
          call.shown.setAttribute("aria-label", `Arguments of ${call.function.name}`);
          box.append(line, call.shown);
          element.append(box);
        }
        call.function.arguments += piece.function.arguments ?? "";
        grow(call.shown, piece.function.arguments ?? "");
      }
    };
    return { answer, calls, take };
  };

  const showCost = async (element, requestId, stopped) => {
    const line = make("p", "cost", stopped ? "Stopping…" : "Looking up what it has cost…");
    element.append(line);
    const link = make("a", "", "Receipt");
    if (!requestId) {
      line.textContent = "Stopped before the first token. That costs nothing.";
      return;
    }
    link.href = `/receipts?id=${encodeURIComponent(requestId)}`;
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      try {
        const response = await fetch(`/playground/receipt?id=${encodeURIComponent(requestId)}`);
        const receipt = response.ok ? await response.json() : {};
        if (receipt.settled) {
          line.replaceChildren(
            make("strong", "", `${receipt.dollars} charged`),
            ` · ${receipt.prompt_tokens} prompt and ${receipt.completion_tokens} answer tokens · ${receipt.outcome} · `,
            link,
          );
          announcement.textContent = `${stopped ? "Stopped" : "Answered"}. ${receipt.dollars} charged.`;
          return;
        }
      } catch {
        // The console may be away for a moment; the receipt is not.
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
    line.replaceChildren("What it has cost is not settled yet. ", link);
  };

  const askForResults = (element, calls) => {
    const results = document.createElement("form");
    results.className = "results";
    for (const [index, call] of calls.entries()) {
      const field = make("div", "field"), label = make("label", "", `Result of ${call.function.name}`);
      const area = document.createElement("textarea");
      area.id = label.htmlFor = `result-${messages.length}-${index}`;
      area.dir = "auto";
      field.append(label, area);
      results.append(field);
    }
    const button = make("button", "", "Send the results");
    results.append(button);
    element.append(results);
    results.addEventListener("submit", (event) => {
      event.preventDefault();
      if (running) return;
      const areas = results.querySelectorAll("textarea");
      for (const [index, call] of calls.entries()) {
        messages.push({ role: "tool", tool_call_id: call.id, content: areas[index].value });
        const shownResult = turn(`Result of ${call.function.name}`);
        shownResult.append(make("p", "hint", `Result of ${call.function.name}`), said(areas[index].value));
      }
      results.remove();
      ask(calls.length, () => askForResults(element, calls));
    });
    results.querySelector("textarea").focus();
  };

  // Asks with the messages so far; `added` of them are taken back if there is no answer, and `again` asks for them.
  const ask = async (added, again) => {
    byId("problem")?.remove();
    const body = JSON.stringify(question());
    const takeBack = (text, money) => {
      messages.splice(messages.length - added);
      for (let count = 0; count < added; count += 1) conversation.lastElementChild?.remove();
      again();
      problem(text, money);
    };
    if (body.length > MOST_CHARACTERS) {
      return takeBack("The conversation has become too large. Begin a new one, or send smaller pictures.", "Nothing was charged.");
    }
    running = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    announcement.textContent = "Waiting for the answer…";
    const headers = { "Content-Type": "application/json", "X-Form-Token": form.elements.form_token.value };
    let element = null, requestId = "", stopped = false, broken = "", shownAnswer = null;
    try {
      const response = await fetch("/playground/answers", { method: "POST", body, headers, signal: running.signal, redirect: "error" });
      if (!response.ok) {
        const { error } = await response.json();
        return takeBack(error.message, error.money);
      }
      requestId = response.headers.get("X-Request-Id") ?? "";
      element = turn("Answer", "turn answer");
      element.setAttribute("aria-busy", "true");
      shownAnswer = answerIn(element);
      for await (const event of events(response.body)) {
        if (event.error) broken = event.error.message;
        if (event.choices?.[0]) shownAnswer.take(event.choices[0].delta);
        if (event.tiermesh && byId("left")) byId("left").textContent = dollars(event.tiermesh.credits_remaining);
      }
    } catch (error) {
      stopped = error.name === "AbortError";
      if (!stopped) broken = "The connection to the console broke.";
      if (!stopped && !element) return takeBack(broken, "If the answer had begun, it was charged. Your receipts show it.");
    } finally {
      running = null;
      send.disabled = false;
      stop.hidden = true;
      clear.hidden = false;
    }
    element ??= turn("Answer", "turn answer");
    element.removeAttribute("aria-busy");
    if (broken) element.append(make("p", "problem", broken));
    const calls = shownAnswer?.calls ?? [];
    const whole = !stopped && !broken;
    if (shownAnswer && (shownAnswer.answer.content || (whole && calls.length))) {
      if (whole && calls.length) {
        shownAnswer.answer.tool_calls = calls.map(({ id, type, function: called }) => ({ id, type, function: called }));
      }
      messages.push(shownAnswer.answer);
    } else {
      messages.splice(messages.length - added);
    }
    await showCost(element, requestId, stopped);
    if (whole && calls.length) askForResults(element, calls);
  };

  const dollars = (credits) => `$${Math.floor(credits / 100).toLocaleString("en")}.${String(credits % 100).padStart(2, "0")}`;

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running || !message.value.trim()) return;
    // A call has to be answered first.
    const open = conversation.querySelector(".results textarea");
    if (open) return open.focus();
    const text = { type: "text", text: message.value };
    const sent = shown && !byId("picture-field").hidden ? shown : null;
    messages.push({ role: "user", content: sent ? [text, { type: "image_url", image_url: { url: sent.url } }] : message.value });
    const element = turn("You");
    if (sent) {
      const canvas = make("canvas", "picture");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", "Your picture");
      draw(canvas, sent.image, 320);
      element.append(canvas);
    }
    const entered = message.value;
    element.append(said(entered));
    message.value = "";
    forgetPicture();
    ask(1, () => { message.value ||= entered; });
  });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  stop.addEventListener("click", () => { running?.abort(); message.focus(); });
  clear.addEventListener("click", () => {
    if (running) return;
    messages = [];
    conversation.replaceChildren();
    byId("problem")?.remove();
    clear.hidden = true;
    message.focus();
  });
}
