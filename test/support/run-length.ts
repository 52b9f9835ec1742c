/**
 * Whether this is `npm run test:faults`. Both commands have random tests, and this one then tries
 * more.
 */
export const IS_LONG_RUN = process.env.LONG_RUN !== undefined;
