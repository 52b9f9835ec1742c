import { z } from 'zod';
import { didYouMean } from '../suggest.ts';
import { shown, text, typeError } from './value-schema.ts';

/** The capabilities of Linux. An operator allows some of them (CONTAINER_CAPABILITIES). */
export const CAPABILITIES = [
  'AUDIT_CONTROL',
  'AUDIT_READ',
  'AUDIT_WRITE',
  'BLOCK_SUSPEND',
  'BPF',
  'CHECKPOINT_RESTORE',
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'IPC_LOCK',
  'IPC_OWNER',
  'KILL',
  'LEASE',
  'LINUX_IMMUTABLE',
  'MAC_ADMIN',
  'MAC_OVERRIDE',
  'MKNOD',
  'NET_ADMIN',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_RAW',
  'PERFMON',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYSLOG',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_CHROOT',
  'SYS_MODULE',
  'SYS_NICE',
  'SYS_PACCT',
  'SYS_PTRACE',
  'SYS_RAWIO',
  'SYS_RESOURCE',
  'SYS_TIME',
  'SYS_TTY_CONFIG',
  'WAKE_ALARM',
];

export const capabilities = z
  .array(
    text('Each capability').superRefine((value, context) => {
      if (CAPABILITIES.includes(value)) return;
      const message = `${shown(value)} is no capability of Linux.${didYouMean(value, CAPABILITIES) || ' Write it like "CHOWN".'}`;
      context.addIssue({ code: 'custom', message });
    }),
    { error: typeError('capabilities', 'a list of names') },
  )
  .max(CAPABILITIES.length, `There may be at most ${CAPABILITIES.length} capabilities.`);
