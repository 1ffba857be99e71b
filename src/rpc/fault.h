/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault.h - libvirt's error numbers and domains inside a struct err.
 *
 * An error that a client will see carries in err.code who reports it and which kind it is:
 *     return fault(err, DOM_QEMU, NO_DOMAIN, "no domain with matching name '%s'", name);
 * Codes below FAULT_BASE are plain errno values; on the wire they are system errors.
 */
#pragma once

#include "base/err.h"

enum fault_domain {
    DOM_NONE = 0,
    DOM_XML = 5,
    DOM_RPC = 7,
    DOM_CONF = 9,
    DOM_QEMU = 10,
    DOM_TEST = 12,
    DOM_REMOTE = 13,
    DOM_STORAGE = 18,
    DOM_NETWORK = 19,
    DOM_DOMAIN = 20,
    DOM_NODEDEV = 22,
    DOM_SECURITY = 24,
    DOM_INTERFACE = 26,
    DOM_SECRET = 30,
    DOM_CPU = 31,
    DOM_NWFILTER = 33,
    DOM_SNAPSHOT = 35,
    DOM_STREAMS = 38,
    DOM_EVENT = 40,
    DOM_CAPABILITIES = 44,
    DOM_URI = 45,
    DOM_AUTH = 46,
    DOM_CGROUP = 54,
    DOM_ACCESS = 55,
    DOM_POLKIT = 60,
    DOM_ADMIN = 62,
    DOM_CHECKPOINT = 69,
};

enum fault_kind {
    FAULT_INTERNAL_ERROR = 1,
    FAULT_NO_MEMORY = 2,
    FAULT_NO_SUPPORT = 3,
    FAULT_NO_CONNECT = 5,
    FAULT_INVALID_CONN = 6,
    FAULT_INVALID_DOMAIN = 7,
    FAULT_INVALID_ARG = 8,
    FAULT_OPERATION_FAILED = 9,
    FAULT_OS_TYPE = 16,
    FAULT_NO_SOURCE = 19,
    FAULT_NO_TARGET = 20,
    FAULT_NO_NAME = 21,
    FAULT_XML_ERROR = 27,
    FAULT_DOM_EXIST = 28,
    FAULT_OPERATION_DENIED = 29,
    FAULT_OPEN_FAILED = 30,
    FAULT_WRITE_FAILED = 34,
    FAULT_XML_DETAIL = 35,
    FAULT_NETWORK_EXIST = 37,
    FAULT_SYSTEM_ERROR = 38,
    FAULT_RPC = 39,
    FAULT_NO_DOMAIN = 42,
    FAULT_NO_NETWORK = 43,
    FAULT_INVALID_MAC = 44,
    FAULT_AUTH_FAILED = 45,
    FAULT_NO_STORAGE_POOL = 49,
    FAULT_NO_STORAGE_VOL = 50,
    FAULT_NO_NODE_DEVICE = 53,
    FAULT_NO_SECURITY_MODEL = 54,
    FAULT_OPERATION_INVALID = 55,
    FAULT_NO_INTERFACE = 57,
    FAULT_MULTIPLE_INTERFACES = 59,
    FAULT_INVALID_NWFILTER = 61,
    FAULT_NO_NWFILTER = 62,
    FAULT_INVALID_SECRET = 65,
    FAULT_NO_SECRET = 66,
    FAULT_CONFIG_UNSUPPORTED = 67,
    FAULT_OPERATION_TIMEOUT = 68,
    FAULT_NO_DOMAIN_SNAPSHOT = 72,
    FAULT_INVALID_STREAM = 73,
    FAULT_ARGUMENT_UNSUPPORTED = 74,
    FAULT_SNAPSHOT_REVERT_RISKY = 77,
    FAULT_OPERATION_ABORTED = 78,
    FAULT_AUTH_CANCELLED = 79,
    FAULT_NO_DOMAIN_METADATA = 80,
    FAULT_MIGRATE_UNSAFE = 81,
    FAULT_OVERFLOW = 82,
    FAULT_BLOCK_COPY_ACTIVE = 83,
    FAULT_OPERATION_UNSUPPORTED = 84,
    FAULT_AGENT_UNRESPONSIVE = 86,
    FAULT_RESOURCE_BUSY = 87,
    FAULT_ACCESS_DENIED = 88,
    FAULT_STORAGE_VOL_EXIST = 90,
    FAULT_CPU_INCOMPATIBLE = 91,
    FAULT_XML_INVALID_SCHEMA = 92,
    FAULT_AUTH_UNAVAILABLE = 94,
    FAULT_NO_SERVER = 95,
    FAULT_NO_CLIENT = 96,
    FAULT_DEVICE_MISSING = 99,
    FAULT_NO_NWFILTER_BINDING = 101,
    FAULT_NO_DOMAIN_CHECKPOINT = 103,
    FAULT_NO_DOMAIN_BACKUP = 104,
    FAULT_NO_NETWORK_PORT = 107,
    FAULT_NO_HOSTNAME = 108,
    FAULT_CHECKPOINT_INCONSISTENT = 109,
    FAULT_MULTIPLE_DOMAINS = 110,
};

enum { FAULT_BASE = 1 << 16 };

#define FAULT_CODE(domain, kind)      (FAULT_BASE + ((domain) << 8) + FAULT_##kind)
#define fault(err, domain, kind, ...) err_set((err), FAULT_CODE(domain, kind), __VA_ARGS__)

/* Kind and domain of an error code (err->code, or what a failing function returned, negated). */
int fault_kind(int code);
int fault_domain(int code);

/* What stands before the detail on the wire, "XML error: "; "" when the detail stands alone. */
const char *fault_phrase(int kind);
