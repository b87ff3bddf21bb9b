import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import OidcProvider from 'oidc-provider';
import { type Browser as Chromium, type Page, chromium, devices } from 'playwright-core';
import { freePort } from './port.ts';

/** A real OpenID provider on this machine: whoever gives a known login is let in. */
export class Provider {
  readonly secret = randomUUID();
  readonly redirects: string[] = [];
  issuer = '';
  private readonly accounts: Record<string, string[]>;
  private server: Server | undefined;
  private loud = (): void => {};

  /** @param accounts logins and their groups */
  constructor(accounts: Record<string, string[]>) {
    this.accounts = accounts;
  }

  async open(): Promise<void> {
    // It explains at length what a quick start like this one is not good for.
    const { info, warn } = console;
    console.info = console.warn = () => {};
    const port = await freePort();
    this.issuer = `http://127.0.0.1:${port}`;
    const provider = new OidcProvider(this.issuer, {
      clients: [{ client_id: 'undrop', client_secret: this.secret, redirect_uris: this.redirects }],
      findAccount: (_, id) => {
        const groups = this.accounts[id];
        return groups && { accountId: id, claims: () => ({ sub: id, groups }) };
      },
      claims: { openid: ['sub'], profile: ['groups'] },
      conformIdTokenClaims: false,
      cookies: { keys: [randomUUID()] },
      scopes: ['openid', 'profile', 'email'],
    });
    this.server = provider.listen(port, '127.0.0.1');
    await new Promise((resolve) => this.server?.once('listening', resolve));
    this.loud = () => Object.assign(console, { info, warn });
  }

  /** Opens it for one gateway. @returns where that is to listen, and how it is reached */
  async openFor(): Promise<{ port: number; url: string }> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    this.redirects.push(`${url}/callback`);
    await this.open();
    return { port, url };
  }

  async close(): Promise<void> {
    this.loud();
    this.server?.closeAllConnections();
    await new Promise((resolve) => (this.server ? this.server.close(resolve) : resolve(undefined)));
  }
}

/** A person at a real browser, with scripts switched off. */
export class Browser {
  private readonly chromium: Chromium;
  private readonly page: Page;

  private constructor(browser: Chromium, page: Page) {
    this.chromium = browser;
    this.page = page;
  }

  static async open({ phone = false } = {}): Promise<Browser> {
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    const context = await browser.newContext({ ...(phone && devices['iPhone 13']), javaScriptEnabled: false });
    return new Browser(browser, await context.newPage());
  }

  async close(): Promise<void> {
    await this.chromium.close();
  }

  /** Goes to a page, and through the identity provider where that leads there. */
  async signIn(url: string, login: string): Promise<void> {
    await this.page.goto(url);
    await this.page.fill('input[name=login]', login);
    await this.page.fill('input[name=password]', 'any');
    await this.page.click('button[type=submit]');
    await this.page.click('button[type=submit]'); // consent
  }

  /** Waits until the page says a text; it loads itself again where it says so. */
  async sees(text: string, timeout = 15_000): Promise<void> {
    await this.page.getByText(text).first().waitFor({ state: 'attached', timeout });
  }

  /** How the plan on the page ended, once it has. */
  async outcome(timeout: number): Promise<string> {
    const outcome = this.page.locator('.note strong');
    await outcome.waitFor({ timeout });
    return (await outcome.textContent()) ?? '';
  }

  async goes(path: string): Promise<void> {
    await this.page.goto(new URL(path, this.page.url()).href);
  }

  /** Follows the first link whose text fits. */
  async follows(text: RegExp): Promise<void> {
    await this.page.getByRole('link', { name: text }).first().click();
  }

  /** Opens what is folded under a heading. */
  async unfold(title: string): Promise<void> {
    await this.page.locator('summary', { hasText: title }).click();
  }

  async write(field: string, text: string): Promise<void> {
    await this.page.locator(`textarea[name=${field}]`).fill(text);
  }

  async press(button: string): Promise<void> {
    await this.page.getByRole('button', { name: button }).click();
  }

  /** The fields of the form that decides. */
  async form(): Promise<Record<string, string>> {
    const field = async (name: string): Promise<string> =>
      (await this.page.locator(`form.decide input[name=${name}]`).getAttribute('value')) ?? '';
    return { digest: await field('digest'), token: await field('token'), decision: 'approve', reason: '' };
  }

  /** Sends a form's fields with this browser's cookies. @returns the status */
  async sends(path: string, form: Record<string, string>): Promise<number> {
    const url = new URL(path, this.page.url()).href;
    return (await this.page.context().request.post(url, { form, maxRedirects: 0 })).status();
  }

  /** Whether nothing is wider than the screen: a phone scrolls down only. */
  async fits(): Promise<boolean> {
    const { width } = this.page.viewportSize() ?? { width: 0 };
    return (
      (await this.page
        .locator('body')
        .boundingBox()
        .then((box) => box?.width ?? Infinity)) <= width
    );
  }

  async picture(path: string): Promise<void> {
    await this.page.screenshot({ path, fullPage: true });
  }
}
