/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * aml.h - writing ACPI machine language (ACPI 6.4, 20) into a bounded buffer.
 *
 * Packages are opened and closed; their length is written as a four-byte PkgLength when they close.
 * After an overflow failed stays set: check once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_MAX_DEPTH = 12 };

struct aml {
    uint8_t *buf; /* borrowed */
    size_t max;
    size_t len;
    size_t open[AML_MAX_DEPTH]; /* where the PkgLengths stand */
    unsigned depth;
    bool failed;
};

void aml_init(struct aml *a, uint8_t *buf, size_t max);
void aml_byte(struct aml *a, uint8_t v);
void aml_bytes(struct aml *a, const void *p, size_t len);
/* An integer term, in its shortest form. */
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
/* "_CRS", or a path such as "\\_SB_" of at most 15 segments joined by '.'. */
void aml_name_string(struct aml *a, const char *name);
/* Name(name, ...): the term follows. */
void aml_name(struct aml *a, const char *name);
void aml_eisa_id(struct aml *a, const char *id);

void aml_open_scope(struct aml *a, const char *name);
void aml_open_device(struct aml *a, const char *name);
void aml_open_method(struct aml *a, const char *name, unsigned n_args, bool serialized);
void aml_open_if(struct aml *a);
void aml_open_package(struct aml *a, unsigned n);
/* Field(name, ByteAcc, NoLock, Preserve): entries follow by aml_field_unit(). */
void aml_open_field(struct aml *a, const char *region);
void aml_open_field_dword(struct aml *a, const char *region);
void aml_field_unit(struct aml *a, const char *name, unsigned bits);
void aml_field_gap(struct aml *a, unsigned bits);
void aml_close(struct aml *a);

/* OperationRegion(name, space, offset, len); space 0: memory, 1: I/O. */
void aml_region(struct aml *a, const char *name, unsigned space, uint64_t offset, unsigned len);

/* A resource template as Name(_CRS, Buffer): descriptors, then close. */
void aml_open_crs(struct aml *a);
void aml_open_template(struct aml *a, const char *name);
void aml_crs_io(struct aml *a, uint16_t base, uint8_t len);
void aml_crs_irq(struct aml *a, unsigned irq);
void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t len);
void aml_crs_gsi(struct aml *a, uint32_t gsi, bool edge);
void aml_close_crs(struct aml *a);
