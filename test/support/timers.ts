/*
 * Node turns a timer beyond 2^31 - 1 milliseconds (24.8 days) into one of a millisecond, and only
 * warns. Here the warning fails the run.
 */

function onWarning(warning: Error): void {
  if (warning.name === 'TimeoutOverflowWarning') throw warning;
}

// Files of a run may share a process.
if (!process.listeners('warning').some(({ name }) => name === onWarning.name)) process.on('warning', onWarning);
