/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("%d %s %zu\n", i, argv[i], strlen(argv[i]));
	return EXIT_SUCCESS;
}
