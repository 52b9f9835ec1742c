/** `npm run compose:env`: generates the secrets and settings for docker-compose.yml. */
import { writeComposeFiles } from './compose-files.ts';
import { checkoutDir } from './state.ts';

try {
  const made = await writeComposeFiles(checkoutDir);
  const next = 'Keep a copy of .secrets/secret_key: without it, secrets in the database cannot be read any more.';
  process.stdout.write(
    made.length === 0
      ? 'All files are there already and stay as they are: their secrets are those of your data.\n'
      : `Wrote ${made.join(', ')}. ${next}\nNext: docker compose up --detach --build\n`,
  );
} catch (error) {
  process.stderr.write(`The files of docker compose cannot be written: ${String(error)}\n`);
  process.exitCode = 1;
}
