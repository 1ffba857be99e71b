/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rom.h - option ROMs of ours, assembled at build time. */
#pragma once

extern const unsigned char rom_linuxboot[];
extern const unsigned rom_linuxboot_len;
