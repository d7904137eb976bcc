#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: perl
# timeout: 150
#
# perl: strings, hashes, regular expressions, sorting, closures, forks with
# data coming back through pipes, interpreter threads. The program checks its
# own results where it can; its answers are compared with those under glibc.

. "${0%/*}/lib.sh"
need perl

cat >"$tmp/work.pl" <<'PERL'
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Digest::SHA 'sha256_hex';	# the function: its objects don't survive the cloning of a thread

my $seed = 12345;

sub note { print join(' ', @_), "\n" }
sub dice { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return ($seed >> 8) % shift }

if (my $library = $ENV{EXPECTED_LIBRARY}) {
	open my $maps, '<', '/proc/self/maps' or die $!;
	die "library not mapped\n" unless grep { index($_, " $library") >= 0 } <$maps>;
}

# Strings that grow by realloc, shrink and are copied.
my $long = '';
$long .= chr(97 + dice(26)) x (1 + dice(90)) for 1 .. 60000;
note('grown', length $long, unpack('%32C*', $long));
my @cuts = map { substr $long, dice(length($long) - 5000), 1 + dice(5000) } 1 .. 3000;
note('cuts', scalar @cuts, unpack('%32C*', join '', @cuts));

# A hash of hashes, deleted and refilled in another order.
my %table;
for my $round (1 .. 4) {
	$table{'k' . dice(40000)}{'f' . dice(20)} = 'v' x dice(120) for 1 .. 90000;
	delete $table{'k' . dice(40000)} for 1 .. 30000;
}
my ($fields, $bytes) = (0, 0);
for my $row (values %table) { $fields += keys %$row; $bytes += length for values %$row }
note('table', scalar keys %table, $fields, $bytes);

# Regular expressions with captures, backtracking and substitution by code.
my $text = join "\n", map { "user$_\@host" . ($_ % 37) . '.example; key="' . ('ab' x ($_ % 11)) . '"' } 1 .. 20000;
my %hosts;
$hosts{$2}++ while $text =~ /^(\w+)@([\w.]+);\s+key="((?:ab)*)"$/mg;
note('hosts', map { "$_=$hosts{$_}" } sort keys %hosts);
(my $swapped = $text) =~ s/(\w+)@(\w+)/uc($2) . '@' . reverse($1)/ge;
note('swapped', length $swapped, unpack('%32C*', $swapped));
note('split', scalar(my @words = split /\W+/, $text));

# Sorting by several keys, closures, deep recursion.
my @sorted = map { $_->[0] } sort { $a->[1] <=> $b->[1] or $a->[0] cmp $b->[0] } map { [$_, length] } @words;
note('sorted', $sorted[0], $sorted[-1], scalar @sorted);
my @counters = map { my $n = $_; sub { $n += shift } } 1 .. 20000;
my $total = 0;
$total += $_->(3) for @counters;
note('closures', $total);
no warnings 'recursion';
sub depth { my ($n, @pad) = @_; return $n ? 1 + depth($n - 1, 'x' x 50) : 0 }
note('depth', depth(20000, ''));

# Children inherit the heap, change it, and send results back.
my @children;
for my $child (1 .. 8) {
	pipe my $in, my $out or die $!;
	my $pid = fork // die $!;
	if (!$pid) {
		close $in;
		$table{"c$_"}{child} = $child x 200 for 1 .. 5000;
		delete @table{grep { /7/ } keys %table};
		my $size = 0;
		for my $row (values %table) { $size += length for values %$row }
		print $out join(',', $child, scalar keys %table, $size), "\n";
		close $out;
		exit 0;
	}
	close $out;
	push @children, [$pid, $in];
}
for (@children) {
	my ($pid, $in) = @$_;
	my $answer = <$in>;
	chomp $answer;
	waitpid $pid, 0;
	note('child', $answer, $?);
}

# Interpreter threads: each clones the heap; work and results cross threads.
my ($jobs, $results) = (Thread::Queue->new, Thread::Queue->new);
my @workers = map { threads->create(sub {
	while (defined(my $job = $jobs->dequeue)) {
		my %words;
		$words{$_}++ for map { $_ % 97 } map { $job * $_ } 1 .. 3000;
		$results->enqueue(join ':', $job, map { "$_=$words{$_}" } sort { $a <=> $b } keys %words);
	}
}) } 1 .. 4;
$jobs->enqueue(1 .. 120);
$jobs->end;
$_->join for @workers;
note('threads', $results->pending, sha256_hex(join "\n", sort map { $results->dequeue } 1 .. 120));
for my $round (1 .. 10) {
	threads->create(sub { my @own = map { 'y' x dice(3000) } 1 .. 2000; return scalar @own })->join == 2000 or die;
}
PERL

work() {
	near env EXPECTED_LIBRARY="$near" PERL_HASH_SEED=0 perl "$tmp/work.pl" >"$dir/answers" 2>"$dir/perl.log" &&
		cmp "$tmp/expected" "$dir/answers"
}

run() {
	check bound binds perl -MPOSIX -e 1
	check answers work
}

plain env PERL_HASH_SEED=0 perl "$tmp/work.pl" >"$tmp/expected" || exit 2
each_mode run
