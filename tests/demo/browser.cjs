// What people do in the chat, in a real Chromium: node browser.cjs SCENARIO SETTINGS-AS-JSON.
// A line on standard output asks the test to do something (stop the server); a line on standard input says it is done.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");
const adminScenarios = require("./admin.cjs");

const WAIT_MS = 15_000; // generous: a test machine may be busy
const GRACE_MS = 5_000; // the presence plugin's default
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const DESKTOP = { viewport: { width: 1200, height: 760 } };
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme: "dark" };

const [, , scenario, settingsText] = process.argv;
const settings = JSON.parse(settingsText);
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function ask(action) {
  process.stdout.write(`${action}\n`);
  await answers.next();
}

class Guest {
  constructor(page, nick) {
    Object.assign(this, { page, nick, complaints: [] });
    page.setDefaultTimeout(WAIT_MS);
    page.on("console", (said) => ["error", "warning"].includes(said.type()) && this.complaints.push(said.text()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
  }

  static async open(browser, nick, look, url = settings.url) {
    const context = await browser.newContext(look);
    const guest = new Guest(await context.newPage(), nick);
    await guest.page.goto(url);
    return guest;
  }

  static async join(browser, nick, look, url) {
    const guest = await Guest.open(browser, nick, look, url);
    await guest.page.getByLabel("Your nickname").fill(nick);
    await guest.page.getByRole("button", { name: "Join" }).click();
    await guest.sees(guest.person(nick));
    return guest;
  }

  sees = (locator) => locator.waitFor({ state: "attached" });
  person = (nick) => this.page.locator("#people li", { has: this.page.getByText(nick, { exact: true }) });
  message = (text) => this.page.locator(".message", { has: this.page.getByText(text, { exact: true }) });
  own = (text, ...ticks) =>
    this.page.locator(ticks.map((tick) => `.mine[data-tick="${tick}"]`).join(), { hasText: text });
  notes = () => this.page.locator(".messages .note").allInnerTexts();
  status = () => this.page.locator("#connection summary").innerText();
  screenshot = (name) => this.page.screenshot({ path: path.join(settings.screenshots, `${name}.png`) });

  async write(text) {
    await this.page.getByRole("textbox", { name: "Message", exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  async hasConnection(state, transport) {
    await this.sees(this.page.locator("#state", { hasText: new RegExp(`^${state}$`) }));
    await this.sees(this.page.locator("#transport", { hasText: new RegExp(`^${transport}$`) }));
  }

  async fitsItsScreen() {
    const [content, screen] = await this.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.equal(content, screen, `${this.nick} has to scroll sideways`);
    assert.equal(screen, this.page.viewportSize().width, `${this.nick}'s page was zoomed out to fit`);
  }

  // Returns what another guest had been told before; tries again if a slow machine took longer than one may be away.
  async loadsAgain(other) {
    for (let tries = 0; tries < 5; tries += 1) {
      await other.sees(other.person(this.nick));
      const [before, startedAt] = [await other.notes(), Date.now()];
      await this.page.reload();
      await this.sees(this.person(other.nick));
      if (Date.now() - startedAt < GRACE_MS / 2) return before;
    }
    throw new Error(`to load a page takes longer than ${GRACE_MS / 2} ms`);
  }

  // As a phone that is asleep: connected, but nothing of its page runs. Returns what wakes it.
  async sleeps() {
    const devtools = await this.page.context().newCDPSession(this.page);
    await devtools.send("Debugger.enable");
    await devtools.send("Debugger.pause"); // before whatever runs next: here, the event that arrives
    return () => devtools.send("Debugger.disable");
  }

  // A browser reports each refused connection; that is what a stopped server looks like.
  hasNoComplaints({ except = /^$/ } = {}) {
    assert.deepEqual(this.complaints.filter((text) => !except.test(text)), [], `${this.nick}'s console`);
  }
}

const scenarios = {
  async talk(browser) {
    const ada = await Guest.join(browser, "Ada", DESKTOP);
    const bob = await Guest.join(browser, "Bob", PHONE);
    await Promise.all([ada.sees(ada.person("Bob")), bob.sees(bob.person("Ada"))]);
    await Promise.all([ada.hasConnection("connected", "websocket"), bob.hasConnection("connected", "websocket")]);

    await ada.write("Is anybody there?");
    await ada.sees(ada.own("Is anybody there?", "delivered"));
    await bob.sees(bob.message("Is anybody there?"));
    await bob.page.getByRole("textbox", { name: "Message", exact: true }).pressSequentially("Ye");
    await ada.sees(ada.page.getByText("Bob is typing…"));
    await bob.write("Yes, on a phone: " + "wordwithoutend".repeat(10));
    await ada.sees(ada.page.getByText(/^Yes, on a phone/));
    await bob.sees(bob.own("Yes, on a phone", "delivered"));
    await ada.write("<img src=x onerror=alert(1)>");
    await bob.sees(bob.message("<img src=x onerror=alert(1)>"));
    assert.equal(await bob.page.locator("#messages img").count(), 0, "a message is text, never markup");
    await Promise.all([ada.screenshot("talk-desktop"), bob.screenshot("talk-phone")]);

    await ada.page.locator("#connection summary").click();
    await ada.sees(ada.page.locator("#d-mode", { hasText: settings.mode }));
    await ada.sees(ada.page.locator("#d-events", { hasText: "upgraded to websocket" }));
    await ada.screenshot("connection-desktop");
    await bob.fitsItsScreen();
    await bob.page.getByRole("button", { name: "Rooms and people" }).click();
    await bob.page.getByLabel("Another room").fill("Garden");
    await bob.fitsItsScreen();
    await bob.screenshot("rooms-phone");
    await bob.page.keyboard.press("Enter");
    await bob.sees(bob.page.locator("h1", { hasText: "garden" }));
    await ada.sees(ada.page.getByText("Bob left"));
    await ada.person("Bob").waitFor({ state: "detached" });
    await ada.write("Only the lobby hears this");
    await ada.sees(ada.own("Only the lobby hears this", "sent").getByText("nobody else is here"));
    await ada.page.getByRole("link", { name: "garden" }).click();
    await ada.sees(ada.person("Bob"));
    await bob.sees(bob.person("Ada"));
    await ada.write("In the garden");
    await bob.sees(bob.message("In the garden"));
    assert.equal(await bob.message("Only the lobby hears this").count(), 0, "a room's messages stay in it");

    await bob.page.goto(settings.url);
    await bob.sees(bob.message("Only the lobby hears this"));
    await bob.page.context().close();
    await ada.person("Bob").waitFor({ state: "detached" });
    await bob.hasNoComplaints();
    await ada.hasNoComplaints();
  },

  async restart(browser) {
    const ada = await Guest.join(browser, "Ada", DESKTOP);
    const bob = await Guest.join(browser, "Bob", PHONE);
    await ada.hasConnection("connected", "websocket");
    await ask("stop");
    await ada.sees(ada.page.getByRole("alert").getByText("Connection lost"));
    assert.match(await ada.status(), /offline|connecting/);
    await ada.write("Written while nobody listens");
    await ada.write("And one more");
    await ada.sees(ada.own("And one more", "waiting"));
    await Promise.all([ada.screenshot("lost-desktop"), bob.screenshot("lost-phone")]);
    await bob.fitsItsScreen();
    await ask("start");
    await bob.page.getByRole("button", { name: "Try now" }).click().catch(() => {}); // it may be back already
    await Promise.all([ada.hasConnection("connected", "websocket"), bob.hasConnection("connected", "websocket")]);
    await ada.sees(ada.own("And one more", "sent", "delivered"));
    await bob.sees(bob.message("Written while nobody listens"));
    await bob.sees(bob.message("And one more"));
    await ada.sees(ada.person("Bob"));
    await ada.sees(ada.page.getByText(/^Reconnected after/));
    assert.equal(await ada.page.getByRole("alert").isVisible(), false, "the banner is gone");
    const heard = await bob.page.locator(".message .text").allInnerTexts();
    assert.deepEqual(heard, ["Written while nobody listens", "And one more"], "in order, and each once");
    await ada.screenshot("back-desktop");
    const refused = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection/;
    ada.hasNoComplaints({ except: refused });
    bob.hasNoComplaints({ except: refused });
  },

  async polling(browser) {
    const ada = await Guest.join(browser, "Ada", PHONE, `${settings.url}?transports=polling`);
    await ada.hasConnection("connected", "polling");
    await ada.write("Through HTTP requests alone");
    await ada.sees(ada.own("Through HTTP requests alone", "sent"));
    await ada.hasConnection("connected", "polling");
    ada.hasNoComplaints();
  },

  async processes(browser) {
    const ada = await Guest.join(browser, "Ada", DESKTOP, settings.url);
    const bob = await Guest.join(browser, "Bob", PHONE, settings.other);
    await Promise.all([ada.sees(ada.person("Bob")), bob.sees(bob.person("Ada"))]);
    await ada.write("From one process");
    await bob.sees(bob.message("From one process"));
    await bob.write("To the other");
    await ada.sees(ada.message("To the other"));
    await ada.screenshot("processes-desktop");
    await ask("stop the other");
    await ada.person("Bob").waitFor({ state: "detached" });
    ada.hasNoComplaints();
  },

  async servers(browser) {
    const ada = await Guest.join(browser, "Ada", DESKTOP, `${settings.url}?moderator=${settings.moderator}`);
    const bob = await Guest.join(browser, "Bob", PHONE, settings.other);
    const cyd = await Guest.join(browser, "Cyd", DESKTOP, settings.other);
    await Promise.all([ada, bob, cyd].map((guest) => guest.sees(guest.page.getByText(
      `served by ${guest === ada ? settings.server : settings.otherServer}`))));
    for (const guest of [ada, bob, cyd]) {
      await guest.sees(guest.person("Ada").getByText(settings.server));
      await guest.sees(guest.person("Bob").getByText(settings.otherServer));
      await guest.sees(guest.person("Cyd"));
    }

    await ada.write("To the other server");
    await ada.sees(ada.own("To the other server", "delivered").getByText("delivered to 2 of 2"));
    await bob.sees(bob.message("To the other server"));
    const wake = await bob.sleeps();
    await ada.write("Bob is asleep");
    await cyd.sees(cyd.message("Bob is asleep"));
    await ada.sees(ada.own("Bob is asleep", "sent").getByText("delivered to 1 of 2, not to Bob"));
    await ada.screenshot("servers-delivered-desktop");
    await wake();
    await bob.sees(bob.message("Bob is asleep"));

    const before = await bob.loadsAgain(ada);
    await bob.write("Loaded again");
    await bob.sees(bob.own("Loaded again", "delivered").getByText("delivered to 2 of 2"));

    assert.equal(await cyd.page.getByRole("button", { name: /^Remove/ }).count(), 0, "only moderators remove");
    await ada.page.getByRole("button", { name: "Remove Bob" }).click();
    await bob.sees(bob.page.getByRole("alert").getByText("A moderator has removed you"));
    await ada.sees(ada.page.getByText("You have removed Bob"));
    await ada.person("Bob").waitFor({ state: "detached" });
    assert.deepEqual(await ada.notes(), [...before, "You have removed Bob", "Bob left"],
      "who only loads the page again was never away");
    await cyd.sees(cyd.page.getByText("Bob left").last());
    await bob.screenshot("servers-removed-phone");
    await bob.page.getByRole("button", { name: "Try now" }).click();
    await ada.sees(ada.person("Bob"));
    for (const guest of [ada, bob, cyd]) guest.hasNoComplaints();
  },

  async withoutClient(browser) {
    const page = await browser.newPage();
    await page.route("**/socket.io.min.js", (route) => route.abort());
    await page.goto(settings.url);
    await page.getByRole("alert").getByText("npm ci").waitFor({ timeout: WAIT_MS });
  },

  ...adminScenarios,
};

async function main() {
  const browser = await chromium.launch({ executablePath: settings.chromium, headless: true, args: FLAGS });
  try {
    await scenarios[scenario](browser, settings, ask);
  } catch (error) {
    const pages = browser.contexts().flatMap((context) => context.pages());
    const shots = pages.map((page, number) =>
      page.screenshot({ path: path.join(settings.screenshots, `${scenario}-failed-${number}.png`) }));
    await Promise.allSettled(shots);
    throw error;
  } finally {
    await browser.close();
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
);
