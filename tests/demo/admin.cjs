// What somebody does in the Admin UI of Socket.IO; part of browser.cjs.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");

const WAIT_MS = 30_000; // generous: a test machine may be busy

class Admin {
  constructor(page, settings) {
    Object.assign(this, { page, settings, blocked: [] });
    page.setDefaultTimeout(WAIT_MS);
    page.on("console", (said) => said.text().includes("Content Security Policy") && this.blocked.push(said.text()));
  }

  static async open(browser, settings) {
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
    // Its font and its icons are on servers of others.
    await context.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
    const admin = new Admin(await context.newPage(), settings);
    await admin.page.goto(`${settings.url}/admin`);
    return admin;
  }

  dialog = () => this.page.locator(".v-dialog--active");
  rows = () => this.page.locator("tbody tr");
  menu = (name) => this.page.locator(".v-navigation-drawer a", { hasText: name });

  async visits(name) {
    await this.menu(name).click();
    await this.isAt(new RegExp(`^\\s*${name}\\s*$`));
  }

  // The page that is left slides out of sight beside the new one.
  async isAt(title) {
    await this.page.locator(".v-breadcrumbs", { hasText: title }).waitFor();
    await this.page.locator(".v-breadcrumbs").nth(1).waitFor({ state: "detached" });
  }

  sees = (locator) => locator.first().waitFor();
  screenshot = (name) => this.page.screenshot({ path: path.join(this.settings.screenshots, `${name}.png`) });

  async logIn(password) {
    await this.sees(this.dialog());
    await this.dialog().getByLabel("Username").fill("ann");
    await this.dialog().getByLabel("Password").fill(password);
    await this.dialog().getByRole("button", { name: "Connect" }).click();
  }

  async isIn() {
    await this.sees(this.page.getByText("connected", { exact: true }));
    assert.equal(await this.dialog().count(), 0, "it asks for a password all the same");
  }

  async seesServers() {
    await this.visits("Servers");
    for (const id of this.settings.servers.split(" ")) await this.sees(this.rows().filter({ hasText: id }));
  }
}

module.exports = {
  async admin(browser, settings, ask) {
    const admin = await Admin.open(browser, settings);
    await admin.sees(admin.dialog().getByText("Invalid credentials"));
    await admin.logIn("guessed");
    await admin.sees(admin.dialog().getByText("Invalid credentials"));
    await admin.logIn("secret");
    await admin.dialog().waitFor({ state: "detached" });
    await admin.isIn();
    await admin.seesServers();
    await admin.screenshot("servers");
    await admin.page.reload();
    await admin.isIn();
    await admin.seesServers();
    assert.deepEqual(admin.blocked, [], "the page's own policy stands in its way");
    await admin.screenshot("reloaded");

    await admin.visits("Rooms");
    await admin.rows().filter({ hasText: "club" }).click();
    await admin.isAt(/ details\s*$/);
    await admin.sees(admin.rows().filter({ hasText: settings.sid }));
    await admin.screenshot("room");
    await admin.visits("Sockets");
    const socket = admin.rows().filter({ hasText: settings.sid });
    await socket.click();
    await admin.isAt(/ details\s*$/);
    await admin.sees(admin.page.getByText("masked-by-nobody"));
    await admin.screenshot("socket");
    assert.equal((await admin.page.content()).includes(settings.secret), false, "it shows a secret");
    await admin.visits("Sockets");
    await socket.getByRole("button").click();
    await ask("look who has left");
    await admin.visits("Sockets"); // the click shows the client, too
    await socket.waitFor({ state: "detached" });
    await admin.visits("Events");
    await admin.sees(admin.rows().filter({ hasText: "server disconnect (kicked)" }));
    await admin.screenshot("events");
  },
};
