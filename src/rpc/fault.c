/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rpc/fault.h"

#include <errno.h>
#include <stddef.h>

static const char *const phrases[];
static const size_t n_phrases;

int fault_kind(int code)
{
    if (code == ENOMEM) {
        return FAULT_NO_MEMORY;
    }
    return code >= FAULT_BASE ? (code - FAULT_BASE) & 0xff : FAULT_SYSTEM_ERROR;
}

int fault_domain(int code)
{
    return code >= FAULT_BASE ? (code - FAULT_BASE) >> 8 : DOM_NONE;
}

const char *fault_phrase(int kind)
{
    const char *s = kind > 0 && (size_t)kind < n_phrases ? phrases[kind] : NULL;

    return s != NULL ? s : "";
}

static const char *const phrases[] = {
    [FAULT_INTERNAL_ERROR] = "internal error: ",
    [FAULT_NO_MEMORY] = "out of memory: ",
    [FAULT_NO_SUPPORT] = "this function is not supported by the connection driver: ",
    [FAULT_NO_CONNECT] = "no connection driver available for ",
    [FAULT_INVALID_CONN] = "invalid connection pointer in ",
    [FAULT_INVALID_DOMAIN] = "invalid domain pointer in ",
    [FAULT_INVALID_ARG] = "invalid argument: ",
    [FAULT_OPERATION_FAILED] = "operation failed: ",
    [FAULT_OS_TYPE] = "unknown OS type ",
    [FAULT_NO_SOURCE] = "missing source information for device ",
    [FAULT_NO_TARGET] = "missing target information for device ",
    [FAULT_NO_NAME] = "missing name information",
    [FAULT_XML_ERROR] = "XML error: ",
    [FAULT_DOM_EXIST] = "domain is already defined: ",
    [FAULT_OPERATION_DENIED] = "operation forbidden: ",
    [FAULT_OPEN_FAILED] = "failed to open configuration file: ",
    [FAULT_WRITE_FAILED] = "failed to write configuration file: ",
    [FAULT_NETWORK_EXIST] = "Network already exists: ",
    [FAULT_NO_DOMAIN] = "Domain not found: ",
    [FAULT_NO_NETWORK] = "Network not found: ",
    [FAULT_INVALID_MAC] = "invalid MAC address: ",
    [FAULT_AUTH_FAILED] = "authentication failed: ",
    [FAULT_NO_STORAGE_POOL] = "Storage pool not found: ",
    [FAULT_NO_STORAGE_VOL] = "Storage volume not found: ",
    [FAULT_NO_NODE_DEVICE] = "Node device not found: ",
    [FAULT_NO_SECURITY_MODEL] = "Security model not found: ",
    [FAULT_OPERATION_INVALID] = "Requested operation is not valid: ",
    [FAULT_NO_INTERFACE] = "Interface not found: ",
    [FAULT_MULTIPLE_INTERFACES] = "multiple matching interfaces found: ",
    [FAULT_INVALID_NWFILTER] = "Invalid network filter: ",
    [FAULT_NO_NWFILTER] = "Network filter not found: ",
    [FAULT_INVALID_SECRET] = "Invalid secret: ",
    [FAULT_NO_SECRET] = "Secret not found: ",
    [FAULT_CONFIG_UNSUPPORTED] = "unsupported configuration: ",
    [FAULT_OPERATION_TIMEOUT] = "Timed out during operation: ",
    [FAULT_NO_DOMAIN_SNAPSHOT] = "Domain snapshot not found: ",
    [FAULT_INVALID_STREAM] = "stream is invalid: ",
    [FAULT_ARGUMENT_UNSUPPORTED] = "argument unsupported: ",
    [FAULT_SNAPSHOT_REVERT_RISKY] = "revert requires force: ",
    [FAULT_OPERATION_ABORTED] = "operation aborted: ",
    [FAULT_AUTH_CANCELLED] = "authentication cancelled: ",
    [FAULT_NO_DOMAIN_METADATA] = "metadata not found: ",
    [FAULT_MIGRATE_UNSAFE] = "Unsafe migration: ",
    [FAULT_OVERFLOW] = "numerical overflow: ",
    [FAULT_BLOCK_COPY_ACTIVE] = "block copy still active: ",
    [FAULT_OPERATION_UNSUPPORTED] = "Operation not supported: ",
    [FAULT_AGENT_UNRESPONSIVE] = "Guest agent is not responding: ",
    [FAULT_RESOURCE_BUSY] = "resource busy: ",
    [FAULT_ACCESS_DENIED] = "access denied: ",
    [FAULT_CPU_INCOMPATIBLE] = "the CPU is incompatible with host CPU: ",
    [FAULT_XML_INVALID_SCHEMA] = "XML document failed to validate against schema: ",
    [FAULT_AUTH_UNAVAILABLE] = "authentication unavailable: ",
    [FAULT_NO_SERVER] = "Server not found: ",
    [FAULT_NO_CLIENT] = "Client not found: ",
    [FAULT_DEVICE_MISSING] = "device not found: ",
    [FAULT_NO_NWFILTER_BINDING] = "Network filter binding not found: ",
    [FAULT_NO_DOMAIN_CHECKPOINT] = "Domain checkpoint not found: ",
    [FAULT_NO_DOMAIN_BACKUP] = "Domain backup job id not found: ",
    [FAULT_NO_NETWORK_PORT] = "network port not found: ",
    [FAULT_NO_HOSTNAME] = "no hostname found: ",
    [FAULT_CHECKPOINT_INCONSISTENT] = "checkpoint inconsistent: ",
    [FAULT_MULTIPLE_DOMAINS] = "multiple matching domains found: ",
};
static const size_t n_phrases = sizeof(phrases) / sizeof(phrases[0]);
