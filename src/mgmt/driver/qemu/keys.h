/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keys.h - key codes of other sets into QEMU's "number" (AT set 1, 0xe0 codes with bit 7).
 */
#pragma once

/* codeset: libvirt's number (0 Linux, 1 XT, 9 AT set 1 as QEMU's). -1: unknown. */
int keys_to_qnum(unsigned codeset, unsigned code);
