"use strict";
(() => {
  const asks = JSON.parse(document.getElementById("asks").textContent);
  const embedded = JSON.parse(document.getElementById("audio").textContent);
  const $ = (id) => document.getElementById(id);
  const prefix = `spokeneval:${asks.test_id}:${asks.digest}:`;
  const columns = ["test_id", "dimension", "listener_id", "blinded_name", "score", "seconds", "plays", "comment"];
  const asked = new URLSearchParams(location.search);

  // ---- what is kept: {listener, slot, at, seen: [parts], answers: {key: {score, seconds, plays, comment, heard}}}
  let kept = null;
  let problem = "";
  const read = (key) => {
    try {
      return JSON.parse(localStorage.getItem(prefix + key));
    } catch (error) {
      problem = `This browser keeps no answers (${error.name}): do not close the page before you have saved them.`;
      return null;
    }
  };
  const write = (key, value) => {
    try {
      localStorage.setItem(prefix + key, JSON.stringify(value));
    } catch (error) {
      problem = `This browser keeps no answers (${error.name}): do not close the page before you have saved them.`;
    }
  };
  const keep = () => {
    write(`of ${kept.listener}`, kept);
    write("current", kept.listener);
  };

  // ---- sound
  const player = new Audio();
  let playing = null;
  const source = (name) => embedded[name] || `audio/${encodeURIComponent(name)}.wav`;
  const stop = () => {
    player.pause();
    playing = null;
    for (const button of [$("play"), $("play-reference")]) button.setAttribute("aria-pressed", "false");
  };
  const play = (name, button, state, heard) => {
    stop();
    player.src = source(name);
    playing = name;
    button.setAttribute("aria-pressed", "true");
    state.textContent = "playing";
    player.onended = () => {
      stop();
      state.textContent = "heard";
      heard();
    };
    player.onerror = () => {
      stop();
      state.textContent = "This sound cannot be played. Please tell whoever sent you here.";
    };
    player.play().catch((error) => {
      if (error.name !== "AbortError") player.onerror();
    });
  };

  // ---- screens
  const show = (id) => {
    for (const section of ["start", "part", "trial", "end"]) $(section).hidden = section !== id;
    $("progress-line").hidden = id === "start";
    stop();
    window.scrollTo(0, 0);
    $("main").focus({ preventScroll: true });
  };
  const trials = () => asks.slots[kept.slot];
  const key = (trial) => `${trial[0]} ${trial[1]}`;
  const answer = (trial) => kept.answers[key(trial)];
  const done = () => trials().filter((trial) => answer(trial) && answer(trial).score).length;
  const progress = () => {
    const n = trials().length;
    $("progress-text").textContent = `${done()} of ${n} rated`;
    $("progress").max = n;
    $("progress").value = done();
  };

  let shownAt = 0;
  const go = () => {
    progress();
    if (kept.at >= trials().length) return finish();
    const trial = trials()[kept.at];
    if (!kept.seen.includes(trial[0])) return part(trial[0]);
    const question = asks.questions[trial[0]];
    kept.answers[key(trial)] = answer(trial) || { score: null, seconds: null, plays: 0, comment: "", heard: [] };
    const own = answer(trial);
    show("trial");
    $("trial-h").textContent = question.question;
    $("reference-box").hidden = !question.compares;
    $("play-name").textContent = question.compares ? "B" : "Play";
    $("state").textContent = own.heard.includes("b") ? "heard" : "";
    $("reference-state").textContent = own.heard.includes("a") ? "heard" : "";
    $("answers-legend").textContent = "Your answer";
    for (const label of [...$("answers").querySelectorAll("label")]) label.remove();
    question.labels.forEach((text, k) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const span = document.createElement("span");
      input.type = "radio";
      input.name = "score";
      input.value = String(k + 1);
      input.checked = own.score === k + 1;
      input.addEventListener("change", () => rate(k + 1));
      span.textContent = `${k + 1}  ${text}`;
      label.append(input, span);
      $("answers").append(label);
    });
    $("comment-box").hidden = !asks.comments;
    $("comment").value = own.comment;
    $("back").disabled = kept.at === 0;
    shownAt = performance.now();
    ready();
    $("play").focus({ preventScroll: true });
  };
  const missing = () => {
    const trial = trials()[kept.at];
    const question = asks.questions[trial[0]];
    const heard = answer(trial).heard;
    if (question.compares && !heard.includes("a")) return "Hear A to its end first.";
    if (!heard.includes("b")) return question.compares ? "Now hear B to its end." : "Hear it to its end, then rate it.";
    return answer(trial).score ? "" : "Choose an answer.";
  };
  const ready = () => {
    const says = missing();
    const open = says === "" || says === "Choose an answer.";
    for (const input of $("answers").querySelectorAll("input")) input.disabled = !open;
    $("next").disabled = says !== "";
    $("hint").textContent = says || problem;
  };
  const rate = (score) => {
    const own = answer(trials()[kept.at]);
    const spent = (performance.now() - shownAt) / 1000;
    own.score = score;
    own.seconds = Math.round(spent * 1000) / 1000;
    for (const input of $("answers").querySelectorAll("input")) input.checked = Number(input.value) === score;
    keep();
    progress();
    ready();
  };
  const hear = (which) => {
    const trial = trials()[kept.at];
    const own = answer(trial);
    const name = which === "a" ? trial[2] : trial[1];
    const [button, state] = which === "a" ? [$("play-reference"), $("reference-state")] : [$("play"), $("state")];
    if (playing === name) {
      stop();
      state.textContent = own.heard.includes(which) ? "heard" : "stopped";
      return;
    }
    play(name, button, state, () => {
      if (which === "b") own.plays += 1;
      if (!own.heard.includes(which)) own.heard.push(which);
      keep();
      ready();
    });
  };
  const part = (k) => {
    const question = asks.questions[k];
    show("part");
    const n = trials().filter((trial) => trial[0] === k).length;
    $("part-h").textContent = question.title;
    $("part-text").replaceChildren(
      ...[...question.instructions, `${n} ${n === 1 ? "sound" : "sounds"} in this part.`].map((text) => {
        const p = document.createElement("p");
        p.textContent = text;
        return p;
      }),
    );
    $("part-go").onclick = () => {
      kept.seen.push(k);
      keep();
      go();
    };
    $("part-go").focus({ preventScroll: true });
  };
  const move = (by) => {
    kept.at = Math.max(0, kept.at + by);
    keep();
    go();
  };

  // ---- the end
  const rows = () =>
    trials()
      .filter((trial) => answer(trial) && answer(trial).score)
      .map((trial) => {
        const own = answer(trial);
        const dimension = asks.questions[trial[0]].dimension;
        return [asks.test_id, dimension, kept.listener, trial[1], own.score, own.seconds, own.plays, own.comment];
      });
  const csv = () => {
    const field = (value) => {
      const text = value === null ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows()].map((row) => row.map(field).join(",")).join("\n") + "\n";
  };
  const fileName = () => `${asks.test_id}-${kept.listener}`.replace(/[^A-Za-z0-9._-]+/g, "_") + ".csv";
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = fileName();
    document.body.append(link);
    link.click();
    link.remove();
    $("end-state").textContent = asks.post_to
      ? `Saved as ${fileName()}.`
      : `Saved as ${fileName()}. Send this file to whoever gave you the test.`;
  };
  const send = async () => {
    $("end-state").textContent = "Sending your answers ...";
    const body = JSON.stringify({ test_id: asks.test_id, listener_id: kept.listener, columns, rows: rows() });
    for (const wait of [0, 1000, 3000]) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      try {
        const reply = await fetch(asks.post_to, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body,
        });
        if (reply.ok) {
          $("end-state").textContent = "Your answers have arrived. You can close this page.";
          return;
        }
        $("end-state").textContent = `The server answered ${reply.status}.`;
      } catch (error) {
        $("end-state").textContent = "The server cannot be reached.";
      }
    }
    $("end-state").textContent += " Nothing is lost: send again, or save your answers as a file and mail it.";
  };
  const finish = () => {
    show("end");
    const n = trials().length;
    const left = n - done();
    $("end-text").textContent = left
      ? `${left} of ${n} sounds are not rated yet.`
      : `You have rated all ${n} sounds. ` + (asks.post_to ? "" : "Please save your answers now.");
    $("send").hidden = !asks.post_to;
    $("end-state").textContent = problem;
    if (asks.post_to && !left) send();
    $("save").focus({ preventScroll: true });
  };

  // ---- wiring
  const begin = (listener, slot) => {
    kept = read(`of ${listener}`) || { listener, slot, at: 0, seen: [], answers: {} };
    keep();
    go();
  };
  for (const slot of Object.keys(asks.slots)) {
    const option = document.createElement("option");
    option.value = slot;
    option.textContent = slot;
    $("slot").append(option);
  }
  if (asks.slots[asked.get("slot")]) $("slot").value = asked.get("slot");
  if (asked.get("listener")) $("listener").value = asked.get("listener");
  $("start-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const listener = $("listener").value.trim();
    if (listener) begin(listener, $("slot").value);
  });
  $("try").addEventListener("click", () => play(Object.values(asks.slots)[0][0][1], $("play"), $("state"), () => {}));
  $("play").addEventListener("click", () => hear("b"));
  $("play-reference").addEventListener("click", () => hear("a"));
  $("comment").addEventListener("input", () => {
    answer(trials()[kept.at]).comment = $("comment").value;
    keep();
  });
  $("next").addEventListener("click", () => move(1));
  $("back").addEventListener("click", () => move(-1));
  $("save").addEventListener("click", save);
  $("send").addEventListener("click", send);
  $("review").addEventListener("click", () => {
    kept.at = 0;
    keep();
    go();
  });
  document.addEventListener("keydown", (event) => {
    if ($("trial").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === $("comment");
    const onButton = event.target.tagName === "BUTTON";
    if (event.key === "Enter" && (typing || !onButton || event.target === $("play"))) {
      event.preventDefault();
      if (!$("next").disabled) move(1);
    } else if (typing) {
      return;
    } else if (event.key === " " && event.target.type !== "radio" && (!onButton || event.target === $("play"))) {
      event.preventDefault();
      hear("b");
    } else if (event.key === "a" && !$("reference-box").hidden) {
      hear("a");
    } else if (/^[1-9]$/.test(event.key)) {
      const input = $("answers").querySelector(`input[value="${event.key}"]`);
      if (input && !input.disabled) rate(Number(event.key));
    }
  });
  const current = read("current");
  if (current && read(`of ${current}`) && (!asked.get("listener") || asked.get("listener") === current)) {
    kept = read(`of ${current}`);
    go();
  } else {
    show("start");
    $("start").querySelector("input").focus({ preventScroll: true });
  }
})();
