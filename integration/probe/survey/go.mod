module survey

go 1.22
