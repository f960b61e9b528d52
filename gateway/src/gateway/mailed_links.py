"""The pages that links in mails lead to where no front end is set: a form each, for what the API does anyway.

FRONTEND_URL of the tenants service is the gateway's own address until an operator names a front end. Nothing is loaded
from anywhere else, nothing is sent before somebody presses the button (a mail scanner opens links too), and no cookie
goes along.
"""

from typing import Final

from gateway.pages import Page, fixed

_PATHS: Final = (b"/reset-password", b"/verify-email", b"/accept-invitation")

_HTML: Final = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; base-uri 'none';
  form-action 'none'">
<title>Back office</title>
<style>
body {font: 1rem/1.5 sans-serif; max-width: 24rem; margin: 3rem auto; padding: 0 1rem}
input, button {font: inherit; padding: .5rem; box-sizing: border-box}
input {width: 100%}
</style>
<h1></h1>
<noscript>This page needs JavaScript. Esta p&aacute;gina precisa de JavaScript.</noscript>
<form hidden>
<p data-of="email"><label for="email"></label><input id="email" type="email" autocomplete="username" required>
<p data-of="name"><label for="name"></label><input id="name" maxlength="120" autocomplete="name">
<p data-of="password"><label for="password"></label>
<input id="password" type="password" maxlength="1000" autocomplete="new-password" required>
<button></button>
</form>
<p id="said" role="status">
<script src="mailed-links.js"></script>
"""

_SCRIPT: Final = """"use strict";
const inPortuguese = navigator.language.toLowerCase().startsWith("pt");
const say = (english, portuguese) => inPortuguese ? portuguese : english;
const find = (selector) => document.querySelector(selector);
const token = new URLSearchParams(location.search).get("token") || "";
const kind = location.pathname.split("/").pop();

async function send(path, body, bearer) {
  const headers = {"Content-Type": "application/json"};
  if (bearer) headers.Authorization = "Bearer " + bearer;
  const options = body ? {method: "POST", headers, body: JSON.stringify(body)} : {};
  const answer = await fetch(path, {...options, credentials: "omit"});
  const said = await answer.json();
  if (answer.ok) return said;
  const reasons = (said.errors || []).map((one) => one.message);
  throw Object.assign(new Error([said.detail, ...reasons].join(" ")), {code: said.code});
}

async function accept(fields) {
  if (!fields.email) {
    const body = {token, password: fields.password};
    return send("invitations/accept", fields.name ? {...body, name: fields.name} : body);
  }
  const session = await send("auth/login", {email: fields.email, password: fields.password});
  if (!session.data.accessToken) throw new Error(say(
    "This account has a second factor: sign in with a front end to accept.",
    "Esta conta tem um segundo fator: entre por um front-end para aceitar."));
  return send("invitations/accept", {token}, session.data.accessToken);
}

const pages = {
  "reset-password": {
    title: say("Choose a password", "Escolha uma senha"), fields: ["password"],
    done: say("Your password is set: you can sign in now.", "Sua senha está definida: você já pode entrar."),
    act: (fields) => send("auth/reset-password", {token, password: fields.password}),
  },
  "verify-email": {
    title: say("Confirm your e-mail address", "Confirme o seu e-mail"), fields: [],
    done: say("Your address is confirmed: you can sign in now.", "Seu e-mail está confirmado: você já pode entrar."),
    act: () => send("auth/verify-email/" + encodeURIComponent(token)),
  },
  "accept-invitation": {
    title: say("Accept the invitation", "Aceite o convite"), fields: ["name", "password"],
    done: say("You have joined: you can sign in now.", "Você já faz parte: pode entrar agora."),
    act: accept,
  },
};
const words = {
  email: say("E-mail of your account", "E-mail da sua conta"), name: say("Your name", "Seu nome"),
  password: say("Password", "Senha"),
};

function show(fields) {
  for (const name of Object.keys(words)) {
    find(`[data-of=${name}]`).hidden = !fields.includes(name);
    find("#" + name).disabled = !fields.includes(name);
    find(`label[for=${name}]`).textContent = words[name];
  }
}

const page = pages[kind];
document.documentElement.lang = say("en", "pt-BR");
find("h1").textContent = document.title = page.title;
find("button").textContent = page.title;
show(page.fields);
find("form").hidden = false;
find("form").onsubmit = async (event) => {
  event.preventDefault();
  find("button").disabled = true;
  const given = [...document.querySelectorAll("input:enabled")].map((input) => [input.id, input.value]);
  try {
    await page.act(Object.fromEntries(given));
    find("form").hidden = true;
    find("#said").textContent = page.done;
  } catch (error) {
    find("#said").textContent = error.message;
    if (error.code === "sign_in_required") show(["email", "password"]);
    find("button").disabled = false;
  }
};
"""


def mailed_link_pages() -> dict[bytes, Page]:
    """A page for each kind of link, and the script that they share."""
    page = fixed(b"text/html; charset=utf-8", _HTML)
    script = fixed(b"text/javascript; charset=utf-8", _SCRIPT.encode())
    return {**dict.fromkeys(_PATHS, page), b"/mailed-links.js": script}
