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
    await this.menu("Servers").click();
    for (const id of this.settings.servers.split(" ")) await this.sees(this.rows().filter({ hasText: id }));
  }
}

module.exports = {
  async admin(browser, settings) {
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
  },
};
