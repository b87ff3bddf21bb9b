import * as oidc from 'openid-client';
import { z } from 'zod';
import { Secret } from '../auth-config.ts';

export const OidcConfig = z.strictObject({
  issuer: z.url(),
  clientId: z.string().min(1),
  clientSecret: Secret.optional(),
  scope: z.string().default('openid profile email'),
  /** The claim by which `people` are known. */
  claim: z.string().default('sub'),
  /** The claim that lists a person's groups. */
  groups: z.string().default('groups'),
});
export type OidcConfig = z.infer<typeof OidcConfig>;

/** What has to be remembered between leaving for the identity provider and coming back. */
export interface Departure {
  state: string;
  nonce: string;
  verifier: string;
  /** Where the person wanted to go, a path of ours. */
  to: string;
}

/** Somebody whom the identity provider vouches for. */
export interface Identity {
  subject: string;
  groups: string[];
}

/** Sign-in by authorization code with PKCE, as OAuth 2.1 wants it. */
export class SignIn {
  private readonly config: OidcConfig;
  private readonly secret: string | undefined;
  private readonly callback: string;
  private found: Promise<oidc.Configuration> | undefined;

  constructor(config: OidcConfig, secret: string | undefined, callback: string) {
    this.config = config;
    this.secret = secret;
    this.callback = callback;
  }

  /** @returns where to send the browser, and what to remember. @throws Error when the provider cannot be reached */
  async leave(to: string): Promise<{ url: string; departure: Departure }> {
    const verifier = oidc.randomPKCECodeVerifier();
    const departure = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier, to };
    const url = oidc.buildAuthorizationUrl(await this.provider(), {
      redirect_uri: this.callback,
      scope: this.config.scope,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state: departure.state,
      nonce: departure.nonce,
    });
    return { url: url.href, departure };
  }

  /** @param query what the provider sent the browser back with. @throws Error when the answer is not the one expected */
  async come(query: string, { state, nonce, verifier }: Departure): Promise<Identity> {
    const tokens = await oidc.authorizationCodeGrant(await this.provider(), new URL(`${this.callback}${query}`), {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
    });
    const claims: Record<string, unknown> = { ...tokens.claims() };
    const subject = claims[this.config.claim];
    if (typeof subject !== 'string') throw new Error(`the identity provider sent no claim ${this.config.claim}`);
    // An address that nobody has confirmed may be anybody's.
    if (this.config.claim === 'email' && claims['email_verified'] !== true)
      throw new Error('the identity provider has not verified this email address');
    const groups = claims[this.config.groups];
    return { subject, groups: Array.isArray(groups) ? groups.filter((one) => typeof one === 'string') : [] };
  }

  /** Found once; after a failure it is looked for again. */
  private async provider(): Promise<oidc.Configuration> {
    const issuer = new URL(this.config.issuer);
    const local = issuer.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(issuer.hostname);
    this.found ??= oidc
      .discovery(issuer, this.config.clientId, this.secret, undefined, {
        timeout: 5,
        ...(local && { execute: [oidc.allowInsecureRequests] }),
      })
      .catch((error: unknown) => {
        this.found = undefined;
        throw error;
      });
    return this.found;
  }
}
