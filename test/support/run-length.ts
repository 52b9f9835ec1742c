/** Whether `npm run test:faults` runs. Random tests, which both commands have, then try more. */
export const IS_LONG_RUN = process.env.LONG_RUN !== undefined;
