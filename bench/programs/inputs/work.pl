# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# perl work.pl NAME ROUNDS: pieces of work that mostly allocate. Each looks at
# its results and dies when they are wrong.

use strict;
use warnings;

my ($name, $rounds) = @ARGV;
my $seed = 42;

sub dice { $seed = ($seed * 16807) % 2147483647; return $seed % $_[0] }

# Words are counted, sorted and joined.
sub text {
	my @words = map { join '', map { chr(97 + dice(26)) } 0 .. dice(9) + 1 } 1 .. 3000;

	for my $round (1 .. $rounds) {
		my $text = join ' ', map { $words[dice(3000)] } 1 .. 20000;
		my (%count, %by_length);

		$count{$_}++ for split / /, $text;
		push @{$by_length{length $_}}, $_ for keys %count;
		my @best = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
		my $sum = 0;
		$sum += $_ for values %count;
		(my $changed = $text) =~ s/\b([a-z])([a-z]+)/\u$1<$2>/g;
		my $tags = () = $changed =~ /<[a-z]+>/g;
		die "text: $sum, $tags" unless $sum == 20000 && $tags == 20000 && @best == keys %count;
	}
}

# A population of hashes of arrays, replaced at random.
sub objects {
	my (@live, $made);

	for my $i (1 .. $rounds) {
		my $slot = dice(20000);
		$live[$slot] = {
			id => $i,
			name => "object $i " . 'x' x dice(100),
			list => [ map { { key => "k$_", value => $_ * $i } } 1 .. 1 + dice(8) ],
		};
		$made++;
	}
	for my $o (grep { defined } @live) {
		die "objects: $o->{id}" unless $o->{list}[0]{value} == $o->{id} && $o->{name} =~ /^object $o->{id} /;
	}
}

my %work = (text => \&text, objects => \&objects);
($work{$name} or die "no such work: $name\n")->();
