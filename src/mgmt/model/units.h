/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * units.h - values that definitions have in several notations: sizes with units, UUIDs, MAC
 * addresses, sets of CPUs.
 */
#pragma once

#include "mgmt/model/node.h"

enum { UUID_TEXT_BYTES = 37, MAC_TEXT_BYTES = 18, CPUSET_MAX = 16384 };

/* Text of a child with its unit attribute, made KiB and written back; absent: leaves it. scale is
 * the unit's size when none is given. */
int unit_normalize(struct node *n, uint64_t default_scale, uint64_t out_scale, const char *out_unit,
                   int domain, struct err **err) MUST_CHECK;
int unit_scale(const char *unit, uint64_t *ret);

void uuid_generate(uint8_t uuid[16]);
int uuid_parse(const char *s, uint8_t uuid[16]);
void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_BYTES]);

int mac_parse(const char *s, uint8_t mac[6]);
void mac_format(const uint8_t mac[6], char text[MAC_TEXT_BYTES]);
/* In the vendor range of QEMU, 52:54:00. */
void mac_generate(char text[MAC_TEXT_BYTES]);

/* "0-3,^2,7" into a bitmap of bytes (CPU 0 is bit 0 of the first); *ret_n: one above the last. */
int cpuset_parse(const char *s, uint8_t *map, size_t bytes);
/* Owned by the caller. */
char *cpuset_format(const uint8_t *map, size_t bytes);
