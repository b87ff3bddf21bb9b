/** What a browser gets, without one: a person's cookies and plain forms over HTTP. */
export class Visit {
  /** The page that was seen last. */
  page = '';
  status = 0;
  private readonly cookies = new Map<string, Map<string, string>>();
  private at: string;

  /** @param address where the gateway listens */
  constructor(address: string) {
    this.at = address;
  }

  /** Goes to a page, and wherever that leads. */
  async goes(path: string): Promise<string> {
    let answer = await this.asks(path);
    for (let hops = 0; hops < 10 && answer.status >= 300 && answer.status < 400; hops++)
      answer = await this.asks(answer.headers.get('location') ?? '/');
    this.page = await answer.text();
    this.status = answer.status;
    return this.page;
  }

  /** Goes to a page by way of the identity provider: who gives a login is let in. */
  async signIn(path: string, login: string): Promise<string> {
    await this.goes(path);
    await this.fills({ login, password: 'any' });
    await this.fills({}); // consent
    return this.page;
  }

  /** The hidden fields of the form that decides; none where there is no such form. */
  form(): Record<string, string> {
    const [form = ''] = /<form class="decide".*?<\/form>/s.exec(this.page) ?? [];
    return fieldsOf(form);
  }

  /** Sends a form, and does not go where that leads. @returns the status, and what the page says */
  async sends(path: string, form: Record<string, string>): Promise<{ status: number; says: string }> {
    const answer = await this.asks(path, form);
    return { status: answer.status, says: await answer.text() };
  }

  private async fills(more: Record<string, string>): Promise<void> {
    const [, action = '', form = ''] = /<form[^>]*action="([^"]+)"[^>]*>(.*?)<\/form>/s.exec(this.page) ?? [];
    const answer = await this.asks(action, { ...fieldsOf(form), ...more });
    await this.goes(answer.headers.get('location') ?? '/');
  }

  private async asks(path: string, form?: Record<string, string>): Promise<Response> {
    const url = new URL(path, this.at);
    const jar = this.cookies.get(url.origin) ?? new Map<string, string>();
    this.cookies.set(url.origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, {
      redirect: 'manual',
      headers: { cookie },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const one of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(one) ?? [];
      jar.set(name, value);
    }
    this.at = url.href;
    return answer;
  }
}

const fieldsOf = (form: string): Record<string, string> =>
  Object.fromEntries(
    [...form.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value]),
  ); // prettier-ignore
