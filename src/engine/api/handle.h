/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handle.h - which descriptor stands for which object.
 *
 * A handle keeps its object alive; a vCPU's object keeps its VM's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum handle_kind { HANDLE_NONE, HANDLE_SYSTEM, HANDLE_VM, HANDLE_VCPU };

struct handle {
    enum handle_kind kind;
    void *object; /* counted */
};

/* One row of a request table: answers with 0 or more, or a negative errno. */
struct request {
    unsigned long nr;
    int (*fn)(void *object, void *arg);
};

/* The system, VM and vCPU requests; each ends with .fn == NULL. */
extern const struct request system_requests[];
extern const struct request vm_requests[];
extern const struct request vcpu_requests[];

/* Makes a descriptor (a memory file of that size) stand for the object, and takes over the caller's
 * reference. Returns it, or a negative errno (the reference stays the caller's). */
int handle_new(enum handle_kind kind, void *object, const char *name, uint64_t size);
