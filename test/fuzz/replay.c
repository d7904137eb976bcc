/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Runs the inputs in the files and folders named, in order, without a fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long inputs;

static void run_file(const char *path)
{
	static uint8_t room[1 << 16];
	FILE *file = fopen(path, "rb");
	uint8_t *input;
	size_t size;

	if (file == NULL) {
		perror(path);
		exit(2);
	}
	size = fread(room, 1, sizeof(room), file);
	fclose(file);
	input = malloc(size); /* its end is where a sanitizer looks */
	memcpy(input, room, size);
	LLVMFuzzerTestOneInput(input, size);
	free(input);
	inputs++;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct dirent **names;
		int count = scandir(argv[i], &names, NULL, alphasort);

		if (count < 0)
			run_file(argv[i]);
		for (int j = 0; j < count; j++) {
			char path[4096];

			snprintf(path, sizeof(path), "%s/%s", argv[i], names[j]->d_name);
			if (names[j]->d_name[0] != '.')
				run_file(path);
			free(names[j]);
		}
		if (count >= 0)
			free(names);
	}
	printf("%lu inputs\n", inputs);
	return inputs == 0;
}
