// What runs in the browser. `bundle.js` makes one script and one style sheet of it.
import 'graphiql/style.css';
import './client.css';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { helpfulFetcher } from './fetcher.js';
import { FillIds } from './fill-ids.js';
import { keepSignInTab } from './stored-tabs.js';

const { defaultTabs } = globalThis.graphiqlOptions; // by the page's own script
keepSignInTab(defaultTabs);
const endpoint = new URL('/graphql', location.href);
const url = endpoint.href;
const subscriptionUrl = url.replace(/^http/, 'ws');
const fetcher = helpfulFetcher(createGraphiQLFetcher({ url, subscriptionUrl, enableIncrementalDelivery: false }));

createRoot(document.querySelector('#graphiql')).render(
  createElement(GraphiQL, { fetcher, defaultTabs, shouldPersistHeaders: false }, createElement(FillIds)),
);
