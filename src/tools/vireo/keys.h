/* SPDX-License-Identifier: GPL-2.0-or-later */
/* keys.h - Linux's names of keys ("KEY_A"), as <linux/input-event-codes.h> numbers them. */
#pragma once

/* -1: no such key. */
int key_code(const char *name);
