/* SPDX-License-Identifier: MIT */
/*
 * A table for each node, placed by name: for data that threads on that node will read, whoever fills it. On a machine
 * with one node it works too; then there is one table, and it has no home.
 *
 *	cc nodes.c $(pkg-config --cflags --libs nearmalloc)
 */
#include <errno.h>
#include <near/malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_BYTES = 4 << 20 };

static void tell(int node, const void *table, size_t counts[])
{
	int home = near_node_of(table);

	printf("node %d: home ", node);
	if (home >= 0)
		printf("%d", home);
	else
		printf("%s", errno == ENODATA ? "none, memory is not kept apart" : "unknown");
	if (near_node_resident(table, TABLE_BYTES, counts)) {
		printf("; the kernel does not tell where it lies\n");
		return;
	}
	for (int n = 0; n <= near_max_node(); n++) {
		if (counts[n])
			printf("; %zu pages lie on node %d", counts[n], n);
	}
	printf("\n");
}

int main(void)
{
	size_t *counts = calloc((size_t)near_max_node() + 1, sizeof(*counts));
	int tables = 0;

	if (!counts || !near_owns(counts)) {
		fputs("malloc is not nearmalloc's here\n", stderr);
		return 1;
	}
	for (int node = 0; node <= near_max_node(); node++) {
		void *table = near_malloc_on_node(TABLE_BYTES, node);

		if (!table && errno == EINVAL)
			continue; /* numbers have gaps, and some nodes no memory, or none for us */
		if (!table)
			return 1;
		memset(table, 1, TABLE_BYTES); /* by this thread, wherever it runs */
		tell(node, table, counts);
		free(table);
		tables++;
	}
	free(counts);
	return !tables;
}
