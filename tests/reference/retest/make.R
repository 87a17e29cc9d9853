# Retest, responsiveness and minimal important change. Run in this folder: Rscript make.R
suppressMessages({library(psych); library(jsonlite)})
set.seed(12)
K <- 30; n <- sample(4:9, K, TRUE); cl <- rep(seq_len(K), n); N <- length(cl)
true <- 70 + 12 * (.3 * rnorm(K)[cl] + rnorm(N)); got <- 6 * rnorm(N) + 4
first <- true + 6 * rnorm(N); second <- true + got + 6 * rnorm(N)
state <- got + 4 * rnorm(N); anchor <- ifelse(state > 6, "better", ifelse(state < -4, "worse", "same"))
d <- data.frame(cl = sprintf("C%02d", cl), first = round(first, 1), second = round(second, 1), change = anchor)
d$first[c(3, 40)] <- NA
write.csv(d, "retest.csv", row.names = FALSE, quote = FALSE)
d <- read.csv("retest.csv"); d <- d[complete.cases(d), ]
stable <- d[d$change == "same", ]
icc <- psych::ICC(stable[c("first", "second")], lmer = FALSE)
row <- icc$results[icc$results$type == "ICC2", ]; row3 <- icc$results[icc$results$type == "ICC3", ]
m <- anova(lm(y ~ factor(id) + factor(t), data.frame(y = c(stable$first, stable$second), id = rep(seq_len(nrow(stable)), 2), t = rep(1:2, each = nrow(stable)))))
MSE <- m["Residuals", "Mean Sq"]; MSC <- m["factor(t)", "Mean Sq"]; ns <- nrow(stable)
sem <- sqrt(max((MSC - MSE) / ns, 0) + MSE)
diff <- stable$second - stable$first
d$gain <- d$second - d$first; two <- d[d$change != "worse", ]; imp <- two$change == "better"
x <- two$gain[imp]; y <- two$gain[!imp]
auc <- as.numeric(wilcox.test(x, y, exact = FALSE)$statistic) / (length(x) * length(y))
psi <- function(a, b) (a > b) + .5 * (a == b)
V10 <- sapply(x, function(a) mean(psi(a, y))); V01 <- sapply(y, function(b) mean(psi(x, b)))
delong <- sqrt(var(V10) / length(x) + var(V01) / length(y))
# Obuchowski (1997) for clinicians
cx <- two$cl[imp]; cy <- two$cl[!imp]; cls <- sort(unique(two$cl)); M <- length(x); Ny <- length(y)
sx <- sapply(cls, function(k) sum(V10[cx == k] - auc)); sy <- sapply(cls, function(k) sum(V01[cy == k] - auc))
Ix <- length(unique(cx)); Iy <- length(unique(cy)); I <- length(cls)
obu <- sqrt(Ix / ((Ix - 1) * M) * sum(sx^2) / M + Iy / ((Iy - 1) * Ny) * sum(sy^2) / Ny + 2 * I / (I - 1) * sum(sx * sy) / (M * Ny))
g <- glm(imp ~ gain, binomial, two, control = list(epsilon = 1e-14, maxit = 100)); p <- mean(imp); lo <- log(p / (1 - p)); r <- cor(two$gain, imp)
mic <- unname((lo - coef(g)[1]) / coef(g)[2])
write_json(list(versions = list(R = as.character(getRversion()), psych = as.character(packageVersion("psych"))),
  n_stable = ns, icc_a1 = row$ICC, icc_lower = row[["lower bound"]], icc_upper = row[["upper bound"]], icc_c1 = row3$ICC,
  sem_agreement = sem, sem_consistency = sqrt(MSE), sdc = 1.96 * sqrt(2) * sem, mean_difference = mean(diff), sd_difference = sd(diff),
  n_improved = sum(imp), n_same = sum(!imp), auc = auc, delong = delong, obuchowski = obu,
  b = unname(coef(g)), correlation = r, mic_predicted = mic, mic_adjusted = mic - (.090 + .103 * r) * sd(two$gain) * lo,
  mic_improved = mic - (.8 / .6 - .5) * sd(two$gain) * r * lo), "retest.json", digits = 12, auto_unbox = TRUE)
